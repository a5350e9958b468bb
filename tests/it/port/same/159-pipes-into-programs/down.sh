#!/bin/sh
echo "$2 is down" | mail -s "VIP down" root && echo told > /run/world/told
if ! echo "$2" | /usr/local/sbin/tool fails; then
  echo failed > /run/world/failed
fi
