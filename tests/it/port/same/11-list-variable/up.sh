#!/bin/sh

VIPS="192.168.32.30/32 192.168.32.31/32"
VLAN=eth1
for vip in $VIPS
do
  /sbin/ip addr add $vip dev $VLAN
  /usr/sbin/arping -q -c 1 -U -I $VLAN ${vip%/*} || true
done
ip addr add $2/24 dev $1
