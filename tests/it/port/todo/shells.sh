#!/bin/sh
echo "a\tb" > /run/f # todo
touch /run/{a,b} # todo
eval "X=1" # todo
cd $3 # todo
( X=1; exit 2 ) # todo
set -- $(cat /run/f) # todo
IFS=: # todo
umask 077 # todo
