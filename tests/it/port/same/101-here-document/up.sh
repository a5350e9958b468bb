#!/bin/sh
cat > /run/world/vip.cfg <<EOF
# made by $(basename $0)
listen $2:80
interface "$1"
literal \$HOME
EOF
cat >> /run/world/vip.cfg <<-'END'
	no $expansion here
	END
ip addr add $2/24 dev $1
