#!/bin/sh
IFACE=${1:?no interface}
VIP=${2:?no address}
ROLE=${3:-node}

usage() { echo "usage: $0 IFACE VIP [ROLE]" >&2; exit 2; }

[ $# -lt 2 ] && usage
case "$ROLE" in
  node1|node2|node[3-9]) LABEL=member ;;
  web-*) LABEL=web ;;
  *) LABEL=unknown ;;
esac
echo "$LABEL" > /run/world/label
ip addr add $VIP/24 dev $IFACE
