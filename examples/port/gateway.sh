#!/bin/sh
# GATEWAY stands in ucarp's environment.
sysctl -w net.ipv4.ip_forward=1
ip route replace default via "$GATEWAY" dev "$1"
