#!/bin/sh

route del -host 10.88.0.1 gw 10.1.0.1
route del -net 10.77.0.0 netmask 255.255.0.0 gw 10.1.0.1
route del default gw 192.168.32.254
ip addr del $2/24 dev $1
