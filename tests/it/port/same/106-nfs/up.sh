#!/bin/sh
#
# nfs failover, called by ucarp
#
PATH=/usr/local/sbin:/sbin:/bin:/usr/sbin:/usr/bin
RES=r0
MNT=/srv/nfs

drbdadm primary $RES || exit 1
mount /dev/drbd0 $MNT
exportfs -ra
service httpd start
/sbin/ip addr add $2/24 dev $1
arping -q -U -c 1 -I $1 $2
exit 0
