#!/bin/sh
set -- nginx httpd
for svc
do
  service $svc stop
done
rm -f /run/world/set
ip addr del 10.1.0.22/16 dev eth1
