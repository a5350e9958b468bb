#!/bin/sh
DEV=$1
VIP=$2
TABLE=100
GW=192.168.32.254
ip addr add $VIP/24 dev $DEV
ip route add default via $GW dev $DEV table $TABLE
ip rule add from $VIP/32 table $TABLE pref 500
ip route flush cache
