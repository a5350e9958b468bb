#!/bin/sh
# vip-up.sh - called by ucarp: vip-up.sh <interface> <vip>
PATH=/sbin:/usr/sbin:/bin:/usr/bin
IFACE="$1"
VIP="$2"
MASK=24
TAG="ucarp[$IFACE]"

log() { logger -t "$TAG" -p daemon.notice -- "$@"; }

have_vip() {
    local dev=$1 ip=$2
    ip -o -4 addr show dev "$dev" | awk '{print $4}' | grep -q "^${ip}/"
    return $?
}

add_vip() {
    local rc=0
    if have_vip "$IFACE" "$VIP"; then
        log "$VIP already on $IFACE"
        return 2
    fi
    ip addr add "$VIP/$MASK" dev "$IFACE" || rc=$?
    return $rc
}

add_vip
case $? in
    0) log "added $VIP" ; echo added > /run/world/result ;;
    2) echo present > /run/world/result ;;
    *) log "cannot add $VIP" ; exit 1 ;;
esac
exit 0
