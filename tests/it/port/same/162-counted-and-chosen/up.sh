#!/bin/sh
n=$(grep -cE 'web|db' /run/world/list)
m=$(grep -ci WEB /run/world/list)
sum=$(cat /run/world/list | awk '{ n += $2 } END { print n }')
last=$(sort -k2nr /run/world/list | head -1 | cut -d ' ' -f 1)
all=$(cut -d ' ' -f 1 /run/world/list | paste -s -d ,)
echo "$n $m $sum $last $all" > /run/world/out
if hostname | grep -qE '^(node1|node2)$'; then service nginx start; fi
if cat /run/world/list | grep -qiw OTHER; then echo other > /run/world/found; fi
if cat /run/world/list | grep -qE '^(a|b)$'; then echo wrong > /run/world/wrong; fi
