#!/bin/sh
up() { ip addr add 192.168.32.77/24 dev eth0; return $?; }
up2() {
  if [ "$1" = a ]; then ip link set eth1 up; else ip link set nosuch up; fi
  return $?
}
note() { echo "$1" >> /run/world/seen; return $?; }
rc=0
/usr/local/sbin/tool fails || rc=$?
note "tool $rc"
up || note "up failed"
up || note "up failed again"
up2 a && note "a came up"
up2 b || note "b did not"
note end
exit 0
