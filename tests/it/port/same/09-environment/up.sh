#!/bin/sh
ip addr add $2/24 dev $1
ip route replace default via $GATEWAY
hostname $MASTER_NAME
