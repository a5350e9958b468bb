#!/bin/sh

set -e

PATH=/usr/local/sbin:/usr/local/bin:/sbin:/bin:/usr/sbin:/usr/bin
NAME=ucarp
DESC="virtual address"

[ -r /etc/default/no-such-file ] && . /etc/default/no-such-file

ENABLED=${ENABLED:-yes}
case "$ENABLED" in
	[Yy]*) ;;
	*) exit 0 ;;
esac

invoke-rc.d httpd start
ip addr add "$2/24" dev "$1"
exit 0
