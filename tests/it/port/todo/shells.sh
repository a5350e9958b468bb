#!/bin/sh
echo "a\tb" > /run/f # todo
touch /run/{a,b} # todo
eval "X=1" # todo
cd /srv # todo
( X=1; exit 2 ) # todo
set -- a b # todo
IFS=: # todo
umask 077 # todo
