#!/bin/sh

dev=${1:-eth0}
prefix=${PREFIX:-24}
gw=${GATEWAY:-192.168.32.254}
ip addr add "$2/$prefix" dev "$dev"
ip route replace default via "$gw"
