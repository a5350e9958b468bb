#!/bin/sh
# DRBD and the file system on it

RESOURCE=r0
DEVICE=/dev/drbd0
MOUNT=/data

fatal() {
    logger -p daemon.err "$1"
    exit 1
}

become_primary() {
    drbdadm primary $RESOURCE || return 1
    mount -t ext4 $DEVICE $MOUNT
}

become_primary || fatal "no primary"
service nginx start
ip addr add $2/24 dev $1
