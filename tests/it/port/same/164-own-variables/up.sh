#!/bin/bash
# Functions as people write them.
log() {
  local level=$1 message=$2
  echo "$level: $message" >> /run/world/messages
}
add() {
  local net=$1
  local gateway=${2:-10.1.0.1}
  local text
  text="$net by $gateway"
  ip route replace "$net" via "$gateway"
  log info "$text"
}
level=outer
add 10.30.0.0/16
add 10.31.0.0/16 10.1.0.7
log warn "level is $level"
