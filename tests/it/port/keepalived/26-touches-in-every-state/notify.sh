#!/bin/sh
# What a monitor reads: there as long as keepalived has run.
touch /run/world/seen
chmod 0640 /run/world/seen
echo "$2 is $3" > /run/world/state
