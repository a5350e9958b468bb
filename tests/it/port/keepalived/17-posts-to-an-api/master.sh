#!/bin/sh
# notify_master: tells the inventory who serves.
API=http://127.0.0.1:8080/api/v1
curl -s -X POST -H "Content-Type: application/json" -d '{"role":"master"}' "$API/nodes/node2/role" >/dev/null
if curl -fs "$API/maintenance" >/dev/null 2>&1; then
  logger "maintenance is on"
else
  service httpd start
fi
curl -sf --max-time 5 "$API/there" -o /dev/null && touch /run/world/told
