#!/bin/sh
# named answers on the shared address
/sbin/ifconfig $1:0 $2 netmask 255.255.255.0 broadcast 192.168.32.255 up
rndc reload
rndc flush
