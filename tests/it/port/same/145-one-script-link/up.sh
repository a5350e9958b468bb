#!/bin/sh
# vip.sh: vip-up.sh and vip-down.sh are links to it
STATUS=/run/world/status
say() { echo "`hostname -s`: $*" >> $STATUS; }
start() {
    ip addr add "$1" dev "$2" && say start "$1"
    ip -6 addr add 2001:db8::22/64 dev "$2" nodad
    for key in arp_ignore=1 arp_announce=2; do
        sysctl -q -w net.ipv4.conf.all.${key}
    done
    mkdir -p /run/world/active.d
    for f in web mail; do
        : > /run/world/active.d/$f
    done
}
trap '' HUP
umask 027
start $2/24 $1
cp -p /run/world/master.conf /run/world/current.conf
chmod 640 /run/world/current.conf
printf '%s\t%s\n' "$1" "$2" >> /run/world/history
until ip -o addr show dev $1 | grep -q "$2"; do sleep 1; done
