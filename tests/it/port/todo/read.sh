#!/bin/sh
while read ip; do # todo
  ip addr add $ip dev $1
done < /etc/ucarp/addresses
