#!/bin/sh

. /run/ucarp/vip.conf
ip addr add $2/$PREFIX dev $1
ip route replace default via $GW
