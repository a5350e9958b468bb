#!/bin/sh
ip addr add dev $1 $2/24 brd + label $1:vip
ip -4 route add dev eth1 via 10.1.0.254 10.9.0.0/16
