#!/bin/sh

[ -n "$1" ] || exit 1
. /run/ucarp/vip.conf
ip addr del $2/$PREFIX dev $1
