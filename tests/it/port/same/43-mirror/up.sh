#!/bin/sh

# all that down undoes
ip addr add $2/24 dev $1
ip route add 10.40.0.0/16 via 10.1.0.254
ip link set dummy0 up
service httpd start
touch /run/world/master
arping -U -c 1 -I $1 $2
