#!/bin/sh
fail() {
  ERR=1
  echo "$1" >> /run/world/failures
}
if [ -f /run/world/one ]; then
  WHERE=first
  echo $WHERE > /run/world/where
fi
ERR=0
WHERE=second
case "$1" in
  eth0) NET=192.168.32 GW=$2 ;;
  *) logger "unexpected $1"; exit 1 ;;
esac
service nothing-of-that-name start || fail "nothing"
[ $ERR -eq 0 ] || echo "errors at $WHERE" >> /run/world/failures
ip addr add $NET.23/24 dev $1
