#!/bin/sh
rm -f /run/world/text
ip addr del $2/24 dev $1
