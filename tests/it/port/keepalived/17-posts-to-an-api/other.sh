#!/bin/sh
curl -s -X PUT -d "state=$1" http://127.0.0.1:8080/api/v1/state > /dev/null || logger -p daemon.err "could not tell"
curl --silent --request DELETE http://127.0.0.1:8080/api/v1/leases/node2 >/dev/null
service httpd stop
rm -f /run/world/told
