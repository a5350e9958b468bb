#!/bin/sh

if [ -n "$3" ]; then
    hostname "$3-vip"
fi
if [ "$1" = eth0 ] && [ "$2" != 10.0.0.1 ]; then
    ip addr add $2/24 dev $1
elif [ "$1" = eth1 ]; then
    ip addr add $2/16 dev $1
else
    exit 1
fi
[ -z "$4" ] || ip addr add 192.168.32.99/24 dev $1
