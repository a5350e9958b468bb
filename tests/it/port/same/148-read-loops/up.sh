#!/bin/bash
# Extra addresses.
while read -r a d; do
  ip addr add "$a" dev "$d"
done <<END
192.168.32.50/24   eth0
10.1.0.50/16 eth1
END
while read ip; do
  ip route replace "$ip" via 192.168.32.1
done < /run/world/routes
awk '{print $1}' /run/world/hosts | while read -r l; do
  echo "host $l" >> /run/world/seen
done
n=0
while IFS= read -r l; do
  echo "[$l]" >> /run/world/seen
  n=$((n + 1))
done < <(cat /run/world/hosts)
while read -r first rest || [ -n "$first" ]; do
  echo "$first: $rest." >> /run/world/seen
done < /run/world/hosts
helper() { echo "n is $n $1." >> /run/world/seen; }
helper x
for ((i = 1; i <= 3; i++)); do
  echo "number $i" >> /run/world/seen
done
for ((i=3;i>0;i-=2)); do echo "down $i" >> /run/world/seen; done
S=Master
echo "${S^^} ${S,,}" >> /run/world/seen
let x=3 y=x+1
((y += 2))
echo "$x $y" >> /run/world/seen
