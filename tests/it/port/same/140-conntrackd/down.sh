#!/bin/sh
CONNTRACKD_BIN=/usr/local/sbin/conntrackd
CONNTRACKD_CONFIG=/etc/conntrackd/conntrackd.conf
for opt in -t -n; do
    $CONNTRACKD_BIN -C $CONNTRACKD_CONFIG $opt || logger "ERROR: failed to invoke conntrackd $opt"
done
nft delete table ip vip
ip addr del $2/24 dev $1
