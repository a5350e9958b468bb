#!/bin/sh
while IFS=: read name address; do # todo
  ip addr add $address dev $1
done < /etc/ucarp/addresses
while read ip; do # todo
  ip addr add "$ip" dev $1
done < /etc/ucarp/addresses
echo "the last one was $ip"
read answer # todo
