#!/bin/sh
ip addr add $2/24 dev $1 && logger "took $2" || logger "could not take $2"
ip addr add 10.1.0.2/16 dev eth1 && echo added > /run/world/result || echo "was there" > /run/world/result
ip addr del 10.1.0.77/16 dev eth1 && echo gone >> /run/world/result || echo "was not there" >> /run/world/result
ip route del 10.200.0.0/16 || echo "no route" >> /run/world/result
rm /run/world/nothing || echo "no file" >> /run/world/result
rm -f /run/world/nothing && echo "forced" >> /run/world/result
