#!/bin/sh
# One script in both directions, by its name.
STATE=/tmp/state
note() { echo "$1" >> $STATE; }
unused() { note "never"; }
mount | grep -q " /proc " && note "proc is there"
mount | grep -q " /no/such/place " || note "that is not"
n=0
for word in a b c; do
  n=`expr $n + 1`
  [ $n -eq 2 ] || note "$word is $n"
done
ip addr add ${2:?no address}/24 dev ${1:?no interface}
R=$?
if [ $R -eq 0 ]; then :; else note "failed with $R"; fi
