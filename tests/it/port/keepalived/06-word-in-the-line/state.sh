#!/bin/bash
# notify_master "/etc/keepalived/state.sh master", and so on
case "$1" in
  master)
    ip route replace default via 192.168.32.254
    service httpd start
    ;;
  backup)
    ip route del default
    service httpd stop
    ;;
  fault)
    service httpd stop
    ;;
esac
