#!/bin/sh
LOCK=/run/world/ucarp.lock
exec 9>$LOCK
flock -n 9 || exit 1
echo $$ > /run/world/ucarp.pid
trap 'rm -f /run/world/ucarp.pid' EXIT
ip addr add "$2"/24 dev "$1"
sleep 1
ip link set dummy0 up
arping -q -U -c 2 -I "$1" "$2" &
wait
