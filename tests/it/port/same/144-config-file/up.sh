#!/bin/sh
# one line for each virtual address: device address prefix
CONFIG=/run/world/vips
[ -r "$CONFIG" ] || { echo "$0: no $CONFIG" >&2; exit 1; }
COUNT=0
while read DEV ADDR PREFIX REST
do
    case $DEV in \#*|"") continue;; esac
    if ip addr add $ADDR/$PREFIX dev $DEV; then
        COUNT=$((COUNT+1))
    fi
done < $CONFIG
echo "$COUNT" > /run/world/count
grep -v '^#' $CONFIG | while read DEV ADDR PREFIX; do
    [ -n "$ADDR" ] && arping -q -c 1 -U -I $DEV $ADDR
done
date +%s > /run/world/since.log
