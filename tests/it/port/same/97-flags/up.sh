#!/bin/sh
# 1: remember who we are
touch /run/world/MASTER
rm -f /run/world/BACKUP
# 2: leave unless allowed
if [ -f /run/world/disabled ]; then
    logger "disabled"
    exit 0
fi
# 3: work
service httpd start
ip addr add $2/24 dev $1
