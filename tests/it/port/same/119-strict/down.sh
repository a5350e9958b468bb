#!/bin/sh
set -eu
ip addr del $2/24 dev $1
service httpd stop
