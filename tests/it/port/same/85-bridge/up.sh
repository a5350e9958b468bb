#!/bin/sh
BR=vbr0
ip link add $BR address 02:00:00:00:00:98 type bridge
echo 1 > /proc/sys/net/ipv6/conf/vbr0/addr_gen_mode
ip link set $BR up
ip link set dev dummy0 mtu 1400 up
ip link set dummy0 master $BR
ip addr add 10.44.0.1/24 dev $BR
