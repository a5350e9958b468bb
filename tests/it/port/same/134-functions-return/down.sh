#!/bin/sh
IFACE="$1"
VIP="$2"
del_vip() {
    local n=0
    while ip -o -4 addr show dev "$IFACE" | grep -q " $VIP/"; do
        ip addr del "$VIP/24" dev "$IFACE" 2>/dev/null || return 1
        n=$((n + 1))
        [ $n -ge 5 ] && return 1
    done
    return 0
}
del_vip && echo removed > /run/world/result || echo failed > /run/world/result
