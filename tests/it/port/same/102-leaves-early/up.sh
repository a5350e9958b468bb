#!/bin/sh
echo begun > /run/world/progress
if [ "$1" != eth0 ]; then
    echo "not ours" >> /run/world/progress
    exit 0
fi
echo ours >> /run/world/progress
if [ -e /run/world/one ]; then
    ip addr add $2/24 dev $1
    exit 0
fi
echo never >> /run/world/progress
