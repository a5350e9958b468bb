#!/bin/sh
ip addr del $2/24 dev $1 >/dev/null 2>&1 || true
sysctl -q -w net.ipv4.ip_forward=0
