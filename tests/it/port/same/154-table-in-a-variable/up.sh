#!/bin/sh
# tables by number and by name; gateway per interface
case "$1" in
    eth0) TBL=100; GW=192.168.32.254; PRIO=1000 ;;
    eth1) TBL=101; GW=10.1.0.254; PRIO=1001 ;;
    *) exit 1 ;;
esac
SRC="$2"
ip addr add $SRC/24 dev $1
ip route add default via $GW dev $1 table $TBL
ip route add 192.168.32.0/24 dev $1 src $SRC table $TBL
ip rule add from $SRC lookup $TBL priority $PRIO
ip rule add fwmark $TBL lookup $TBL priority $((PRIO + 500))
iptables -t mangle -A OUTPUT -s $SRC -j MARK --set-mark $TBL
