#!/bin/sh
# address/prefix  device  label
while read -r cidr dev label; do
    case "$cidr" in
        ''|\#*) continue ;;
    esac
    ip addr add "$cidr" dev "$dev" label "$dev:$label" 2>/dev/null
done <<EOF
# web
192.168.32.40/24 eth0 web
192.168.32.41/24 eth0 mail

# inside
10.1.0.40/16 eth1 in
EOF
exit 0
