#!/bin/sh

ip addr add $2/24 dev $1 && service httpd start || exit 1
service nothing start || echo "no nothing" > /run/world/nothing
! service nothing start && touch /run/world/really
service nothing start || true
ip route add 10.9.0.0/16 via 10.1.0.254 && touch /run/world/route
