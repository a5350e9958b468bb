#!/bin/sh

for ip in $(echo $3 | tr ',' ' '); do
  echo "has $ip" >> /run/world/list
done
FIRST=${3%%,*}
LAST=${3##*,}
echo "$FIRST-$LAST-${#FIRST}" > /run/world/ends
