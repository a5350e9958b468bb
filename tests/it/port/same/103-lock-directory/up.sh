#!/bin/sh
LOCK=/run/world/lock
if mkdir $LOCK 2>/dev/null; then
    ip addr add $2/24 dev $1
    service httpd start
    rmdir $LOCK
else
    logger "another one is at it"
fi
