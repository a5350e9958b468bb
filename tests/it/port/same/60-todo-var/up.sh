#!/bin/sh
MASK=$(awk '{print $1}' /run/world/m)
if [ -n "$MASK" ]; then ip addr add 10.81.0.1/24 dev $1; fi
