#!/bin/bash
# Called for the group as well: the instance is enough.
[ "$1" = "GROUP" ] && exit 0
if [[ "$3" != "MASTER" ]]; then
  hostname follower
  exit 0
fi
hostname leader
sysctl -w net.ipv4.ip_forward=1
