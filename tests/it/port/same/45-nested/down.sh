#!/bin/sh

ip addr del $2/24 dev $1
ip route del 10.60.0.0/16
ip route del 10.61.0.0/16
service httpd stop; service nginx stop
rm -f /run/world/eth1
