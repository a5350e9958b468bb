#!/bin/bash
case "$2" in
  10.*) echo ten > /run/world/a ;;
  *) echo other > /run/world/a ;;
esac
case "$1" in
  eth[0-9]) echo eth > /run/world/b ;;
esac
n=${2##*.}; echo "host-$n" > /run/world/c
h=${2%.*}; echo "$h.0/24" > /run/world/d
echo "${2//./-}" > /run/world/e 2>/dev/null
