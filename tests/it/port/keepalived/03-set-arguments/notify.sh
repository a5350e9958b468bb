#!/bin/sh
set -- $@
ENDSTATE=$3
NAME=$2
TYPE=$1
case $ENDSTATE in
  "BACKUP"|"FAULT"|"STOP") service httpd stop ;;
  "MASTER") service httpd start ;;
esac
