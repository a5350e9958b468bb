#!/bin/bash
VIP=$2
if ! ip addr show dev $1 | grep -qw "$VIP"; then
  ip addr add $VIP/24 dev $1
fi
if ip addr show dev $1 | grep -qw 192.168.32.20; then
  echo "a part of it" > /run/world/part
fi
ip addr show dev $1 | grep -qw 192.168.32.2 && touch /run/world/own
