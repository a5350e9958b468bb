#!/bin/sh

ip -6 route del default via 2001:db8::1 dev $1
ip -6 addr del 2001:db8::22/64 dev $1
ip addr del $2/24 dev $1
