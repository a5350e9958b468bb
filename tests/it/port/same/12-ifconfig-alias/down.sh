#!/bin/sh
/sbin/ifconfig $1:1 down
