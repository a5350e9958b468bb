#!/bin/sh

VIPS="192.168.32.30/32 192.168.32.31/32"
VLAN=eth1
for vip in $VIPS
do
  /sbin/ip addr del $vip dev $VLAN 2>/dev/null
done
ip addr del $2/24 dev $1
