#!/bin/sh
[ -f /run/world ] && echo file > /run/x
[ -f /etc/ha.link ] && echo link >> /run/x
ip addr add $2/24 dev $1
