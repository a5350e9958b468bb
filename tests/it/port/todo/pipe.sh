#!/bin/sh
ip addr add $2/24 dev $1
yes | apt-get install x # todo
ip route | xargs -n 1 echo # todo
iptables-save | tee /run/rules # todo
notify() { echo told; }
echo up | notify # todo
