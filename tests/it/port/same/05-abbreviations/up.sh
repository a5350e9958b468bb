#!/bin/sh
ip a a $2/24 dev $1
ip r r default via 192.168.32.254
ip l s eth1 down
