#!/bin/sh

ip addr del $2/24 dev $1
hostname $(cat /run/world/hostname)
