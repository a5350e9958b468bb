#!/bin/sh
IF=$1
for NUM in 2 1 0; do
	/sbin/ifconfig $IF:$NUM down
done
/sbin/route del -net 172.20.0.0 netmask 255.255.0.0 gw 192.168.32.254 2> /dev/null
/sbin/route del default gw 192.168.32.1 2>/dev/null
exit 0
