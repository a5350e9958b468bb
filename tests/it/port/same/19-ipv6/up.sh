#!/bin/sh

ip -6 addr add 2001:db8::22/64 dev $1 nodad
ip -6 route add default via 2001:db8::1 dev $1
ip addr add $2/24 dev $1
