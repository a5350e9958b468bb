#!/bin/sh

ip addr add $2/24 dev $1
route add default gw 192.168.32.254
route add -net 10.77.0.0 netmask 255.255.0.0 gw 10.1.0.1
route add -host 10.88.0.1 gw 10.1.0.1
