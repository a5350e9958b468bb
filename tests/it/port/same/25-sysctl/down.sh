#!/bin/sh

sysctl -q -w net.ipv4.ip_forward=0 net.ipv4.conf.all.arp_ignore=0
echo 0 >/proc/sys/net/ipv4/conf/$1/arp_announce
