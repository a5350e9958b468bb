#!/bin/bash
# Firewall rules follow the address.
# usage: vip-up.sh IFACE VIP
IFACE="$1"
VIP="$2"
IPT=/usr/local/sbin/iptables

log() {
    logger -t vip-up -p daemon.notice "$*"
}

log "becoming master for $VIP on $IFACE"
ip addr add "${VIP}/24" dev "$IFACE"

# let the service ports in
for port in 80 443; do
    $IPT -A INPUT -d "$VIP" -p tcp --dport $port -j ACCEPT
done
$IPT -t nat -A POSTROUTING -o "$IFACE" -j MASQUERADE
log "done"
