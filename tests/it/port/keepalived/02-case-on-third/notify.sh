#!/bin/sh
case "$3" in
  MASTER) hostname active ;;
  BACKUP|FAULT|STOP) hostname standby ;;
esac
