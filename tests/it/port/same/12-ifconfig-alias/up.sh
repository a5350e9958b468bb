#!/bin/sh
/sbin/ifconfig $1:1 $2 netmask 255.255.255.0 up
