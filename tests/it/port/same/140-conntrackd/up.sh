#!/bin/sh
CONNTRACKD_BIN=/usr/local/sbin/conntrackd
CONNTRACKD_LOCK=/var/lock/conntrack.lock
CONNTRACKD_CONFIG=/etc/conntrackd/conntrackd.conf

ip addr add $2/24 dev $1

# commit the external cache into the kernel table
$CONNTRACKD_BIN -C $CONNTRACKD_CONFIG -c
if [ $? -eq 1 ]
then
    logger "ERROR: failed to invoke conntrackd -c"
fi
# flush the internal and the external caches
$CONNTRACKD_BIN -C $CONNTRACKD_CONFIG -f
if [ $? -eq 1 ]; then
    logger "ERROR: failed to invoke conntrackd -f"
fi
$CONNTRACKD_BIN -C $CONNTRACKD_CONFIG -R || logger "ERROR: failed to invoke conntrackd -R"
nft -f - <<EOF
add table ip vip
add chain ip vip input { type filter hook input priority 0; }
add rule ip vip input ip daddr $2 counter
EOF
