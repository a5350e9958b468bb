#!/bin/sh
PEER=10.1.0.3
ssh -o BatchMode=yes root@$PEER /usr/local/sbin/demote $2
sleep 0.1
ip addr add $2/24 dev $1
