#!/bin/sh
ip addr del $2/24 dev $1
ip neigh flush dev $1
