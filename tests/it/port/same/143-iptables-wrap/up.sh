#!/bin/bash
IPT="/sbin/iptables -w"
SERVICES="80/tcp 443/tcp 53/udp"
VIP=$2

function open_ports
{
    local spec port proto
    for spec in $SERVICES; do
        port=${spec%/*}
        proto=${spec#*/}
        $IPT -C INPUT -d $VIP -p $proto --dport $port -j ACCEPT 2>/dev/null ||
            $IPT -I INPUT -d $VIP -p $proto --dport $port -j ACCEPT
    done
}

ip a a ${VIP}/24 dev $1 2>/dev/null
echo 1 > /proc/sys/net/ipv4/ip_forward
open_ports
let count=3
(( count > 2 )) && logger "opened $count ports"
