#!/bin/sh
read STATE < /run/world/state
read -r first rest < /run/world/words
read -r nothing < /run/world/empty
echo "$STATE|$first|$rest|$nothing" > /run/world/out
[ "$first" = one ] && service nginx start
