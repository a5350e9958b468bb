#!/bin/sh
VIP=$2
if ! ip -o addr show dev $1 | grep -q " $VIP/"; then
    ip addr add $VIP/24 dev $1
fi
sysctl -w net.ipv4.ip_forward=1 >/dev/null
if service httpd status >/dev/null 2>&1
then
    service httpd reload
else
    service httpd start
fi
