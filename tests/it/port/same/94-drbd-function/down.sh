#!/bin/sh
ip addr del $2/24 dev $1
service nginx stop
umount /data && drbdadm secondary r0
