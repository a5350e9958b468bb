#!/bin/bash
STATE=$3
VIP=192.168.32.22
DEV=eth0
case $STATE in
  MASTER)
    ip addr add $VIP/24 dev $DEV
    arping -U -c 2 -I $DEV $VIP
    /usr/local/sbin/tool promote $VIP
    ;;
  BACKUP|FAULT|STOP)
    ip addr del $VIP/24 dev $DEV
    /usr/local/sbin/tool demote $VIP
    ;;
esac
