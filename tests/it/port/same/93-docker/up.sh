#!/bin/bash
set -u
CONTAINERS="web db cache"
for c in $CONTAINERS; do
  docker start "$c" >/dev/null || logger -s -t docker "cannot start $c"
done
docker network connect bridge web
ip addr add "$2/24" dev "$1"
