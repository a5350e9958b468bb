#!/bin/sh
state="$3"; prio="$4"
lockdir=/run/world/lock
if ! mkdir $lockdir 2>/dev/null; then
  logger -t keepalived "busy"
  exit 0
fi
if test "x$state" = "xMASTER"
then
  iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE
  touch /run/world/is-master
elif test "x$state" = "xFAULT" -o "x$state" = "xSTOP"
then
  iptables -t nat -F POSTROUTING
  rm -f /run/world/is-master
  echo "fault (priority $prio)" > /run/world/fault
else
  iptables -t nat -D POSTROUTING -o eth1 -j MASQUERADE
  rm -f /run/world/is-master /run/world/fault
fi
rmdir $lockdir
