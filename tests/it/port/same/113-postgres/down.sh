#!/bin/sh
ip address del dev "$1" "$2/24"
echo standby > /run/world/pg-role
