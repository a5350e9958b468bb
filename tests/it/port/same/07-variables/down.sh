#!/bin/sh

IP=/sbin/ip
DEV=$1
VIP=$2
MASK=24
$IP addr del ${VIP}/${MASK} dev ${DEV}
$IP route del default via 192.168.32.254 dev $DEV
