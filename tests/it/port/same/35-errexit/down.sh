#!/bin/sh

set -eu
service httpd stop
/usr/local/sbin/tool demote r0
ip addr del $2/24 dev $1
