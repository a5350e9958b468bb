#!/bin/sh
ip addr del $2/24 dev $1
for key in all.arp_ignore eth0.arp_announce; do
  sysctl -w net.ipv4.conf.$key=0
done
echo 0 > /proc/sys/net/ipv4/ip_forward
