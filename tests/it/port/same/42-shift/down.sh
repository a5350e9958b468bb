#!/bin/sh

IFACE=$1
shift
ip addr del $1/24 dev $IFACE
shift
hostname "$1"
