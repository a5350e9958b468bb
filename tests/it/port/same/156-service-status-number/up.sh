#!/bin/sh
service named status > /dev/null
RET=$?
[ $RET -eq 3 ] && service named start
[ $RET != 0 ] && echo "named was $RET" >> /run/world/svc
exit 0
