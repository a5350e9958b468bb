#!/bin/sh
ip a d $2/24 dev $1
ip r d default
ip l s eth1 up
