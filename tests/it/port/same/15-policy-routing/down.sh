#!/bin/sh

ip rule del fwmark 7 lookup 100 pref 1001
ip rule del from 10.1.0.0/16 table 100 priority 1000
ip route del default via 192.168.32.254 dev $1 table 100
ip addr del $2/24 dev $1
