#!/bin/sh

case "$1" in
  eth0|eth2) GW=192.168.32.254 ;;
  eth*) GW=10.1.0.254 ;;
  *) echo "unknown $1"; exit 1 ;;
esac
case $2 in
  192.168.*)
    ip addr add $2/24 dev $1
    ;;
  10.*) ip addr add $2/16 dev $1 ;;
esac
ip route replace default via $GW
