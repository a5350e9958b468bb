#!/bin/sh
# a leftover first
ip addr del $2/32 dev $1 2>/dev/null
ip addr del $2/24 dev $1 2>/dev/null
ip addr add $2/24 dev $1
echo up > /run/world/c1
