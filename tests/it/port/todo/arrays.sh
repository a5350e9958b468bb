#!/bin/bash
hostname active
NETS=(10.1.0.0/16 10.2.0.0/16)
declare -A MAP=([a]=b) # todo
for ((i = 0; i < 3; i++)); do
  ip route add 10.$i.0.0/16 via 10.1.0.1
done
mapfile -t LINES < /etc/hosts # todo
