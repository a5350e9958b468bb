#!/bin/sh
rm -f /run/world/part /run/world/own
ip addr del $2/24 dev $1
