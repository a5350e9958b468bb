#!/bin/sh

sysctl -w net.ipv4.ip_forward=1
echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore
echo 2 >/proc/sys/net/ipv4/conf/$1/arp_announce
