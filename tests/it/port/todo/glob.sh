#!/bin/sh
for f in "/etc/ucarp/$1.d"/*; do # todo
  sh $f
done
