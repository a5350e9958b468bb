#!/bin/sh
ALIAS=$1:7
EXTRA=192.168.32.77
ifconfig $ALIAS $EXTRA netmask 255.255.255.0 up
