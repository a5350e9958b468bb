#!/bin/bash
VIP=$2
for spec in 80/tcp 443/tcp 53/udp; do
    IFS=/ read port proto <<< "$spec"
    iptables -w -D INPUT -d $VIP -p $proto --dport $port -j ACCEPT
done
sysctl -qw net.ipv4.ip_forward=0
ip a d ${VIP}/24 dev $1 2>/dev/null
