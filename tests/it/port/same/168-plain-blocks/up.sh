#!/bin/bash
# What is put together, counted, asked and gone over.
HIST=/run/state/history
mkdir -p "$(dirname "$HIST")"
{ echo "master $2"; cat /run/old; echo end; } > $HIST
NETS=(10.20.0.0/16 10.21.0.0/16)
for n in "${NETS[@]}"; do ip route replace $n via 192.168.32.254; done
echo "${#NETS[@]} networks" >> $HIST
for opt in -c -f; do
  touch-it "$opt" || echo "failed $opt" >> $HIST
done
ROLE=$(grep -q "^second" /run/old && echo second || echo first)
echo "role $ROLE" >> $HIST
if ! (cat /run/old | grep -q nothing); then echo "not there" >> $HIST; fi
t=0
until [ -e /run/ready ]; do
  t=$((t + 1))
  [ $t -ge 2 ] && break
  sleep 1
done
echo "$t tries" >> $HIST
GW=$(cat /run/gateway)
[ -z "$GW" ] && exit 1
ip route replace default via $GW
for f in /proc/sys/net/ipv4/conf/eth0/proxy_arp /proc/sys/net/ipv4/conf/eth1/proxy_arp; do
  echo 1 > $f
done
