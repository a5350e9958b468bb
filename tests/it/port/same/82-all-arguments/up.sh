#!/bin/sh
say() { logger -t ucarp "$@"; }
note() { echo "$*" >> /run/world/notes; }
say "called with" "$@"
note called with $1 $2
note "args: $#"
for arg in "$1" "$2" two; do note "- $arg"; done
ip addr add $2/24 dev $1
