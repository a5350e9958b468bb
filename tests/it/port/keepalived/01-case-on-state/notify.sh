#!/bin/bash
# Starts and stops what belongs to the address.
TYPE=$1
NAME=$2
STATE=$3

case $STATE in
    "MASTER") /etc/init.d/nginx start
              exit 0
              ;;
    "BACKUP") /etc/init.d/nginx stop
              exit 0
              ;;
    "FAULT")  /etc/init.d/nginx stop
              exit 0
              ;;
    "STOP")   /etc/init.d/nginx stop
              exit 0
              ;;
    *)        echo "unknown state"
              exit 1
              ;;
esac
