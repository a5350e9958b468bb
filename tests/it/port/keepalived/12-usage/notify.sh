#!/bin/sh
if [ $# -lt 4 ]; then
  echo "usage: $0 TYPE NAME STATE PRIORITY"
  exit 2
fi
if [ "$3" = MASTER ]; then
  hostname "active"
  echo "$2 $4" > /run/world/master-of
else
  hostname "passive"
  rm -f /run/world/master-of
fi
