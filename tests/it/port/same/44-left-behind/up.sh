#!/bin/sh

ip addr add $2/24 dev $1
sysctl -w net.ipv4.ip_forward=1
echo yes > /run/world/was-master
service httpd start
