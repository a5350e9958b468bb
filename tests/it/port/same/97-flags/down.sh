#!/bin/sh
rm -f /run/world/MASTER
touch /run/world/BACKUP
if [ -f /run/world/disabled ]; then exit 0; fi
service httpd stop
ip addr del $2/24 dev $1
