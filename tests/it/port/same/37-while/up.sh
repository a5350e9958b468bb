#!/bin/sh

i=0
while [ $i -lt 3 ]; do
    i=$((i + 1))
    echo $i >> /run/world/count
done
n=5
until [ $n -eq 0 ]; do n=$((n-1)); [ $n -eq 2 ] && break; done
echo "$n" > /run/world/n
while ! [ -e /run/world/count ]; do sleep 1; done
sleep 0.01
