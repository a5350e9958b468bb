#!/bin/sh

if ip addr show dev $1 | grep -q "$2"; then
    echo there > /run/world/found
else
    ip addr add $2/24 dev $1
fi
ip a s $1 | grep -q 10.1.0.2 || echo "not on $1" > /run/world/other
if ! ip -4 addr list dev eth1 | grep 10.1.0.2 >/dev/null; then exit 1; fi
