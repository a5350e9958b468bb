#!/bin/bash
readonly TUN=eth1
readonly NETS="10.8.0.0/24 10.9.0.0/24 10.10.0.0/16"

for net in ${NETS}; do
  ip route add ${net} via 10.1.0.254 dev ${TUN} 2>/dev/null || logger "route to ${net} is there"
done
ip rule add from 10.8.0.0/24 lookup 120 priority 120
ip route replace default via 192.168.32.254 dev $1 table 120
systemctl restart named
