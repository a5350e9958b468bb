#!/bin/sh
ip rule del from $2/32 table 100 pref 500
ip route del default via 192.168.32.254 dev $1 table 100
ip addr del $2/24 dev $1
