#!/bin/sh

for ip in 192.168.32.30 192.168.32.31 192.168.32.32; do
    ip addr del $ip/24 dev $1
done
