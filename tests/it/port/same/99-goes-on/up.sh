#!/bin/sh
ip addr add 10.1.0.63/16 dev nosuch0
ip link set nosuch0 up
ip route add 10.3.0.0/16 via 172.31.0.1
/usr/local/sbin/nosuchprogram --now
service nosuchservice start
echo 1 > /proc/sys/net/ipv4/nosuchthing
cp /run/world/nosuch /run/world/copy
hostname went-on
ip addr add $2/24 dev $1
