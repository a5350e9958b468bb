#!/bin/sh
PIDFILE=/run/proxy.pid
CONF=/run/world/proxy.conf

ip addr add $2/32 dev $1
ln -sf /run/world/master.conf $CONF
if [ -s $PIDFILE ] && kill -0 $(cat $PIDFILE) 2>/dev/null; then
    kill -HUP $(cat $PIDFILE)
else
    echo "proxy not running" > /run/world/proxy.state
fi
