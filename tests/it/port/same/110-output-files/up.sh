#!/bin/sh
/usr/local/sbin/tool id > /run/world/id
/usr/local/sbin/environment > /run/world/env 2>&1
hostname > /run/world/name
echo "$(hostname -s)-$(uname -n)" >> /run/world/name
printf '%s %s\n' "$1" "$2" > /run/world/printed
printf 'a\tb\n' >> /run/world/printed
printf '%d%%\n' 50 >> /run/world/printed
echo -n "no end" > /run/world/noend
> /run/world/empty
: > /run/world/empty2
{ echo grouped > /run/world/group; }
