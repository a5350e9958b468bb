#!/bin/bash
case $3 in
    MASTER) note() { echo "held $1" > /run/world/note; } ;;
    *) note() { echo "left $1" > /run/world/note; } ;;
esac
if [ -f /run/world/loud ]; then
    say() { logger -t vrrp "$1!"; }
else
    say() { logger -t vrrp "$1"; }
fi
note "$2"
say "$3"
