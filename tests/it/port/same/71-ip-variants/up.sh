#!/bin/sh
ip a a 10.91.0.1/24 dev eth1
ip addr add 10.91.0.2/24 brd 10.91.0.255 dev eth1 label eth1:0
ip r a 10.92.0.0/16 via 10.78.0.9 dev eth1 metric 50
ip route change 10.92.0.0/16 via 10.78.0.8 dev eth1 metric 50
ip route append 10.94.0.0/16 via 10.78.0.9
ip route add blackhole 10.95.0.0/16
ip route add 10.96.0.0/16 nexthop via 10.78.0.8 nexthop via 10.78.0.9
ip rule add from 10.91.0.1 table 100 prio 500
ip link set dev eth1 mtu 1400
ip addr flush dev dummy0
ip route del default
ip neigh replace 10.78.0.9 lladdr 02:00:00:00:00:99 dev eth1 nud permanent
