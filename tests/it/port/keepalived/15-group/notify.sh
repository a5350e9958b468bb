#!/bin/bash
if [ "$1" = "GROUP" ] && [ "$3" = "MASTER" ]; then
  /usr/local/sbin/tool group "$2" "$3" "$4"
fi
[ "$3" = "MASTER" ] || hostname spare
