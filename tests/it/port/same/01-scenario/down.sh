#!/bin/sh
# What ucarp runs on becoming backup: master-down.sh INTERFACE ADDRESS NODE
ip address del "$2/24" dev "$1"
hostname "$3"
ip route replace default via 192.168.32.254
service httpd stop
