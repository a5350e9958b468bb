#!/bin/sh

. /etc/rc.d/init.d/functions 2>/dev/null || true
case "$2" in
  192.168.32.*) squid -k reconfigure ;;
  *) squid -k parse ;;
esac
ip addr add $2/24 dev $1
