#!/bin/sh

logger -t ucarp -p daemon.warning "taking $2 on $1"
echo "`date` master on $1" >> /var/log/ucarp-test.log
echo "$(date '+%F %T') MASTER" >> /run/world/x.log
ip addr add $2/24 dev $1
