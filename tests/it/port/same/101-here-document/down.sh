#!/bin/sh
rm -f /run/world/vip.cfg
ip addr del $2/24 dev $1
