#!/bin/sh
ip addr del $2/24 dev $1
ip link set nosuch0 down
hostname node2
