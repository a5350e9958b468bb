#!/bin/sh

test -n "$3" && hostname $3
ip addr del $2/24 dev $1
