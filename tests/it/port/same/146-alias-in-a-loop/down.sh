#!/bin/sh
N=0
for a in 192.168.32.40 192.168.32.41; do
  ifconfig eth0:$N down
  N=1
done
