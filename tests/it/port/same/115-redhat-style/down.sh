#!/bin/sh
exec 2>/dev/null
/sbin/ip address del "$2"/24 dev "$1"
rm -f /run/world/subsys
