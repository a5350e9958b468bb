#!/bin/sh
ip addr add $2/24 dev $1
GW=$(ip route | awk '/default/ { print $3 }') # todo
