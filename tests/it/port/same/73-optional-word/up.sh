#!/bin/sh
FLAGS=""
[ -f /run/world/verbose ] && FLAGS="-v -x"
/usr/local/sbin/tool $FLAGS start
hostname served
