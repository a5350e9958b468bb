#!/bin/sh

rm -f /run/world/master
service httpd stop
ip link set dummy0 down
ip route del 10.40.0.0/16
ip addr del $2/24 dev $1
