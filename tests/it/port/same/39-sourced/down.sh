#!/bin/sh

[ -n "$1" ] || exit 1
. /run/world/vip.conf
ip addr del $2/$PREFIX dev $1
