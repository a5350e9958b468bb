#!/bin/sh

ip link set dev dummy0 up
ip link set dummy0 address 02:00:00:00:00:77
ip link add vbr address 02:00:00:00:00:99 type bridge
echo 1 > /proc/sys/net/ipv6/conf/vbr/addr_gen_mode
ip link set vbr up
