#!/bin/sh

dev=${1:-eth0}
prefix=${PREFIX:-24}
ip addr del "$2/$prefix" dev "$dev"
