#!/bin/bash
(
flock -x 200
ip addr del "$2"/24 dev "$1"
ip link set dummy0 down
) 200>/run/world/ucarp.lock
