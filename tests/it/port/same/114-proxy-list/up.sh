#!/bin/sh
# name:port pairs
BACKENDS="web1:80 web2:8080"
for b in $BACKENDS; do
  name=${b%%:*}
  port=${b##*:}
  /usr/local/sbin/tool $name $port
  echo "server $name $port" >> /run/world/backends
done
