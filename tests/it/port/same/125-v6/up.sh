#!/bin/sh
V6=2001:db8:0:1::22
ip -6 addr add $V6/64 dev $1
ip -6 route replace default via 2001:db8:0:1::1 dev $1
ip -6 route add 2001:db8:5::/48 via 2001:db8:0:1::1 dev $1 metric 50
ip addr add $2/24 dev $1
