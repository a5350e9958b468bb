#!/bin/sh
NET=192.168.32
TABLE=100
case "$1" in
  eth0) HOST=22 ;;
  eth1) HOST=23 ;;
esac
ip rule del from $NET.$HOST table $TABLE priority 1000
ip route flush table $TABLE
ip addr del $NET.$HOST/24 dev $1
