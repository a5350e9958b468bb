#!/bin/sh
ip addr del $2/24 dev $1
ip -6 route del 2001:db8:5::/48 metric 50
ip -6 route del default
ip -6 addr del 2001:db8:0:1::22/64 dev $1
