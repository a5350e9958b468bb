#!/bin/sh

IP=/sbin/ip
DEV=$1
VIP=$2
MASK=24
# take the address
$IP addr add ${VIP}/${MASK} dev ${DEV}
$IP route replace default via 192.168.32.254 dev $DEV
