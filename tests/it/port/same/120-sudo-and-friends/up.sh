#!/bin/sh
sudo ip addr add $2/24 dev $1
sudo -n /usr/local/sbin/tool asroot
command -v ip >/dev/null 2>&1 && echo "has ip" > /run/world/has
which no-such-program-here > /dev/null || echo "lacks it" >> /run/world/has
nohup /usr/local/sbin/tool detached
command /usr/local/sbin/tool plain
( /usr/local/sbin/tool inner )
