#!/bin/sh
STATE=$3
if [ "$STATE" = "MASTER" ]; then
  ip route replace 172.16.0.0/12 via 192.168.32.253
  ip route replace default via 192.168.32.254
else
  ip route del 172.16.0.0/12
  ip route replace default via 192.168.32.252
fi
