#!/bin/bash
TYPE=$1
NAME=$2
STATE=$3
logger -t keepalived "$TYPE $NAME is $STATE now"
echo "$NAME" > /run/world/name
