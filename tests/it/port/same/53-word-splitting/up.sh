#!/bin/sh
OPTS="-a -b"
/usr/local/sbin/tool $OPTS last
/usr/local/sbin/tool ${EXTRA+prio $EXTRA} last
/usr/local/sbin/tool $NOTSET last
