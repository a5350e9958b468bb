#!/bin/sh

IFACE=$1; shift
VIP=$1; shift
NAME=$1
ip addr add $VIP/24 dev $IFACE
hostname $NAME-up
