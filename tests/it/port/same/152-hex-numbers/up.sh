#!/bin/sh
MARK=$((0x10))
ip rule add fwmark $((0x10 + 1)) table 5 prio 50
echo $MARK > /run/world/mark
