#!/bin/sh

case "$1" in
  eth0) ip route del default ;;
esac
ip addr del $2/24 dev $1
