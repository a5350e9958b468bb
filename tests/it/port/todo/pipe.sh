#!/bin/sh
ip addr add $2/24 dev $1
TOTAL=$(ip route | awk '{ n += 1 } END { print n }') # todo
ip route | sort | uniq # todo
iptables-save | tee /run/rules # todo
