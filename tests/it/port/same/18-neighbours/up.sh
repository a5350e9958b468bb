#!/bin/sh
ip addr add $2/24 dev $1
ip neigh flush dev $1
ip route flush cache
