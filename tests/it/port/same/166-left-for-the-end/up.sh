#!/bin/sh
LOCK=/run/world/lock
if [ -e "$LOCK" ]; then
  echo "locked" >&2
  exit 1
fi
trap 'rm -f "$LOCK"' EXIT
echo busy > "$LOCK"
cp "$LOCK" /run/world/was-busy
service nginx start
exit 0
