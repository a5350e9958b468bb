#!/bin/bash
# In keepalived.conf: notify /etc/keepalived/notify.sh
TYPE=$1
NAME=$2
STATE=$3
case $STATE in
  MASTER)
    systemctl start haproxy
    logger "$NAME took over"
    ;;
  BACKUP|FAULT|STOP)
    systemctl stop haproxy
    ;;
esac
