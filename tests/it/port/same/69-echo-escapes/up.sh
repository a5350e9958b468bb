#!/bin/sh
echo "a\nb" > /run/world/a
echo -n no-newline > /run/world/b
echo   spaced    out > /run/world/c
echo "$UNSET_X" > /run/world/d
echo * > /run/world/e
echo ~root > /run/world/f
