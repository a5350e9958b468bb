#!/bin/sh
case "$1" in eth0) TBL=100 PRIO=1000;; eth1) TBL=101 PRIO=1001;; esac
while ip rule del lookup $TBL 2>/dev/null; do :; done
ip route flush table $TBL
iptables -t mangle -D OUTPUT -s $2 -j MARK --set-mark $TBL
ip addr del $2/24 dev $1
