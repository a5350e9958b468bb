#!/bin/sh
ip addr del 10.44.0.1/24 dev vbr0
ip link set dummy0 nomaster
ip link set dummy0 down mtu 1500
ip link del vbr0
