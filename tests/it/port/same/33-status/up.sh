#!/bin/sh

ip addr add $2/24 dev $1
if [ $? -eq 0 ]; then
    service httpd start
fi
service nginx start
RET=$?
if [ $RET -ne 0 ]; then
    echo failed > /run/world/failed
fi
