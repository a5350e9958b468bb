#!/bin/sh
set -e

VERSION=14
CLUSTER=main
STATE=/run/world/pg-role

[ -f "$STATE" ] || echo standby > "$STATE"
if [ "$(cat $STATE)" = standby ]; then
    pg_ctlcluster $VERSION $CLUSTER promote
    echo primary > "$STATE"
fi
ip address add dev "$1" "$2/24"
logger -t pg-failover "promoted $VERSION/$CLUSTER"
