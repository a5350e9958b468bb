#!/bin/sh
# notify_fault
ip addr del 10.9.0.1/24 dev eth1 2>/dev/null
echo fault > /run/world/role
service nginx stop
