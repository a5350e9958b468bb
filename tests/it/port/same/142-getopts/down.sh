#!/bin/sh
ip addr del $2/24 dev $1
ip addr del 10.1.0.22/32 dev eth1
