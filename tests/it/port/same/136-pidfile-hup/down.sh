#!/bin/sh
ip addr del $2/32 dev $1
ln -sf /run/world/backup.conf /run/world/proxy.conf
test -f /run/proxy.pid && kill -HUP `cat /run/proxy.pid`
rm -f /run/world/proxy.state
exit 0
