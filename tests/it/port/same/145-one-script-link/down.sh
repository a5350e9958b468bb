#!/bin/sh
stop() {
    ip addr del "$1" dev "$2" || return
    ip -6 addr del 2001:db8::22/64 dev "$2"
    for f in /run/world/active.d/*; do
        [ -e "$f" ] || continue
        rm "$f"
    done
    rmdir /run/world/active.d
}
stop $2/24 $1
[ -f /run/world/current.conf ] && mv /run/world/current.conf /run/world/last.conf
sysctl -q -w net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.eth0.arp_announce=0
tail -n 1 /run/world/history | cut -f 2 > /run/world/last
