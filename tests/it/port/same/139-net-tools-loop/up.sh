#!/bin/sh
IF=$1
NUM=0
for IP in $2 192.168.32.30 192.168.32.31; do
	/sbin/ifconfig $IF:$NUM $IP netmask 255.255.255.0 broadcast 192.168.32.255 up
	NUM=`expr $NUM + 1`
done
/sbin/route add -net 172.20.0.0 netmask 255.255.0.0 gw 192.168.32.254
/sbin/route del default 2>/dev/null
/sbin/route add default gw 192.168.32.1
for IP in $2 192.168.32.30 192.168.32.31; do
	arping -A -c 1 -I $IF $IP > /dev/null 2>&1
done
