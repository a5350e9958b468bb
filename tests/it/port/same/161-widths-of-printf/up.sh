#!/bin/sh
count=$(cat /run/world/count)
count=$((count + 1))
printf '%03d|%-8s|%5s|%x|%d\n' "$count" "$3" ab 255 "$count" > /run/world/out
printf '%-10s %s\n' state master address "$2" > /run/world/table
