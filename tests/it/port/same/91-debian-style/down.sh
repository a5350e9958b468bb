#!/bin/sh
set -e
ip addr del "$2/24" dev "$1"
invoke-rc.d httpd stop
