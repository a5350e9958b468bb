#!/bin/sh

for dev in eth0 eth1; do
  if [ "$dev" = "$1" ]; then
    ip addr add $2/24 dev $dev
    continue
  fi
  for net in 10.60.0.0/16 10.61.0.0/16; do
    ip route add $net via 10.1.0.254 dev $dev
  done
  { echo "done $dev" > /run/world/$dev; }
done
( service httpd start; service nginx start )
