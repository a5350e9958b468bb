#!/bin/sh
MAILTO=root@example.net
echo "`hostname` is master of $2" > /proc/1/fd/1
echo "failover to $(hostname)" | logger -t failover
ip addr add $2/24 dev $1 2>&1 | logger
