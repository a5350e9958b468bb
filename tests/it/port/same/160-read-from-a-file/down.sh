#!/bin/sh
read -r answer < /run/world/missing
if [ -z "$answer" ]; then
  service nginx stop
fi
