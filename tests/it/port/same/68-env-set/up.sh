#!/bin/sh
set -e
A=${B:-dflt}
: ${C:=cc}
export D=dd
unset A
echo "[$A][$C][$D]" > /run/world/a
echo 'single $A' > /run/world/b
echo "tab\there" > /run/world/c
printf '%s\n' one two > /run/world/d
