#!/bin/sh
/sbin/ifconfig $1:0 down
rndc reload
