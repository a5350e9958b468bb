#!/bin/sh -e
ip addr add $2/24 dev $1
[ -n "$3" ]
/usr/local/sbin/tool one
if ! service httpd status; then service httpd start; fi
/usr/local/sbin/tool fails || true
/usr/local/sbin/tool two
