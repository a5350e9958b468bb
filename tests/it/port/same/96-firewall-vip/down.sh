#!/bin/bash
IFACE="$1"; VIP="$2"
for port in 443 80; do
    iptables -D INPUT -d "$VIP" -p tcp --dport $port -j ACCEPT
done
iptables -t nat -D POSTROUTING -o "$IFACE" -j MASQUERADE
ip addr del "${VIP}/24" dev "$IFACE"
