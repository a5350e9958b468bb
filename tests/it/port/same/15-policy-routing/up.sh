#!/bin/sh

ip addr add $2/24 dev $1
ip route add default via 192.168.32.254 dev $1 table 100
ip rule add from 10.1.0.0/16 table 100 priority 1000
ip rule add fwmark 7 lookup 100 pref 1001
