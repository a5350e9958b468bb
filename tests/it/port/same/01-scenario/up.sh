#!/bin/sh
# What ucarp runs on becoming master: master-up.sh INTERFACE ADDRESS NODE
ip address add "$2/24" dev "$1"
hostname nodevir2
ip route replace default via 192.168.32.254
service httpd start
