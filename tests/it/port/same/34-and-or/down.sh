#!/bin/sh

ip addr del $2/24 dev $1 || :
service httpd stop && rm -f /run/world/nothing /run/world/really
