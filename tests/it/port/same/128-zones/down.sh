#!/bin/sh
firewall-cmd --zone=public --remove-rich-rule='rule family="ipv4" destination address="192.168.32.22" accept'
ip addr del $2/24 dev $1
