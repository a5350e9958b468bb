#!/bin/sh
firewall-cmd --zone=public --add-rich-rule='rule family="ipv4" destination address="192.168.32.22" accept'
ip addr add $2/24 brd + dev $1 label $1:vip
pkill -HUP -x dnsmasq
