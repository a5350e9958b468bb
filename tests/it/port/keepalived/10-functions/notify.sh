#!/bin/bash
STATE="$3"

log() {
  logger -t notify "$1"
}

start_all() {
  log "starting"
  for unit in httpd named; do
    systemctl start $unit
  done
}

stop_all() {
  log "stopping"
  for unit in named httpd; do
    systemctl stop $unit
  done
}

case "$STATE" in
  MASTER) start_all ;;
  *) stop_all ;;
esac
