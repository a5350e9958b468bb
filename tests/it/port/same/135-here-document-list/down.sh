#!/bin/sh
while read -r cidr dev label; do
    [ -z "$cidr" ] && continue
    ip addr del "$cidr" dev "$dev" 2>/dev/null
done <<EOF
192.168.32.40/24 eth0 web
192.168.32.41/24 eth0 mail
10.1.0.40/16 eth1 in
EOF
exit 0
