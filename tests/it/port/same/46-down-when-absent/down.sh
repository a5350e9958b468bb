#!/bin/sh

ip addr del $2/24 dev $1 2>/dev/null
ip route del 10.99.0.0/16 2>/dev/null
rm -f /run/world/never
service httpd stop
exit 0
