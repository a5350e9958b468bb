#!/bin/sh
/usr/local/sbin/tool fails
if [ $? -eq 1 ]; then touch /run/world/one; fi
/usr/local/sbin/tool fails
if [ $? -eq 3 ]; then touch /run/world/three; fi
