#!/bin/sh
cd /run/world/conf || exit 1
ln -sf a.cfg on.cfg
cp a.cfg copy.cfg
echo "$2" > state
[ -f a.cfg ] && echo there > found
[ -e missing ] && echo wrong > wrong
service nginx start
