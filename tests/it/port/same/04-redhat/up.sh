#!/bin/sh
exec 2>/dev/null

/sbin/ip address add "$2"/32 dev "$1"
