#!/bin/sh
# Arguments put in an order of the script's own.
set -- "$1" "$2" nginx httpd
DEV=$1
shift 2
echo "$# services for $DEV: $*" > /run/world/set
for svc in "$@"; do
  service $svc start
done
[ "$1" = nginx ] && echo "first is $1" >> /run/world/set
set -- eth1 10.1.0.22
ip addr add "$2/16" dev "$1"
start() { echo "start $1" >> /run/world/set; }
start mine
