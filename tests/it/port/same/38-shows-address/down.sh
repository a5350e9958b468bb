#!/bin/sh

if ip addr show dev $1 | grep -q "inet $2/"; then
    ip addr del $2/24 dev $1
fi
