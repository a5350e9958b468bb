#!/bin/sh
# Tells the router where the address is.
[ "$3" = "MASTER" ] || exit 0
/usr/local/sbin/tool conntrackd -c -f "$2"
logger "$2 took over with priority $4"
