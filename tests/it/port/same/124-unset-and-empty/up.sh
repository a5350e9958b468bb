#!/bin/sh
A=
echo "[${A:-x}][${A-y}][${B-z}][${C:-w}]" > /run/world/sets
[ -n "$A" ] && echo full >> /run/world/sets
[ -z $A ] && echo empty >> /run/world/sets
[ "$A" != something ] && echo different >> /run/world/sets
A=1
unset A
echo "[$A]" >> /run/world/sets
