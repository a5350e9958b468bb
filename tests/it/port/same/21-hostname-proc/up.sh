#!/bin/sh

ip addr add $2/24 dev $1
echo nodevir2 > /proc/sys/kernel/hostname
