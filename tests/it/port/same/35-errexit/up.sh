#!/bin/sh

set -e
ip addr add $2/24 dev $1
/usr/local/sbin/tool promote r0
service httpd start
