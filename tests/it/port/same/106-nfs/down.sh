#!/bin/sh
RES=r0
MNT=/srv/nfs
/sbin/ip addr del $2/24 dev $1
service httpd stop
exportfs -ua
umount -f $MNT
drbdadm secondary $RES
exit 0
