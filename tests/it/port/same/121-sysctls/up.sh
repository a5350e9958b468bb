#!/bin/sh
echo 1 > /proc/sys/net/ipv4/ip_forward
for key in all/arp_ignore $1/arp_announce; do
  echo 1 > /proc/sys/net/ipv4/conf/$key
done
ip addr add $2/24 dev $1
