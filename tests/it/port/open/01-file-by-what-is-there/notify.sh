#!/bin/bash
# Where the state goes stands in a file.
PLACE=$(cat /etc/state-place)
case $3 in
  MASTER) echo "$3 $2" > "/run/state.$PLACE" ;;
  *) echo "$3" > "/run/state.$PLACE" ;;
esac
