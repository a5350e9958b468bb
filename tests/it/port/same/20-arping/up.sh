#!/bin/sh

ip addr add $2/24 dev $1
arping -U -c 2 -I $1 $2 >/dev/null 2>&1 &
arping -A -c 1 -I $1 $2 > /dev/null
