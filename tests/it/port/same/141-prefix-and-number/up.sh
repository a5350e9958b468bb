#!/bin/sh
NET=192.168.32
TABLE=100
case "$1" in
  eth0) HOST=22; GW=254 ;;
  eth1) HOST=23; GW=253 ;;
  *) echo "unknown interface $1" >&2; exit 1 ;;
esac
ip addr add $NET.$HOST/24 dev $1
ip rule add from $NET.$HOST table $TABLE priority 1000
ip route add default via $NET.$GW dev $1 table $TABLE
ip route flush cache
