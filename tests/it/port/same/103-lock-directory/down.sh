#!/bin/sh
[ -d /run/world/lock ] && rmdir /run/world/lock
service httpd stop
ip addr del $2/24 dev $1
