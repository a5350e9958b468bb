#!/bin/sh
ip addr del dev $1 $2/24 label $1:vip
ip -4 route del 10.9.0.0/16 via 10.1.0.254 dev eth1
