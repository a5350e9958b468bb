#!/bin/sh

logger "leaving $2"
ip addr del $2/24 dev $1
