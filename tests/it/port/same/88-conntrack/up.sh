#!/bin/sh
conntrack -F
conntrack -D -d $2
iptables-restore /etc/iptables.master
ip addr add $2/24 dev $1
