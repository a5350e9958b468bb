#!/bin/sh
export RESOURCE=r0 MODE="read write"
LANG=C /usr/local/sbin/tool $RESOURCE
TIMEOUT=5 /usr/local/sbin/environment
/usr/local/sbin/environment
unset MODE
/usr/local/sbin/environment
