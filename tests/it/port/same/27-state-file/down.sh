#!/bin/sh
ip addr del $2/24 dev $1
echo BACKUP > /run/world/state
