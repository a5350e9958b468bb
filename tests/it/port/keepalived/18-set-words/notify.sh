#!/bin/sh
# The arguments in the order of an older script.
set -- "$3" "$2" "$1"
STATE=$1
NAME=$2
shift
case "$STATE" in
  MASTER) echo "$NAME $2 $#" > /run/world/master; service httpd start ;;
  BACKUP|FAULT) service httpd stop; rm -f /run/world/master ;;
  STOP) service httpd stop ;;
esac
