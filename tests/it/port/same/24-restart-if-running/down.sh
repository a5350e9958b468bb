#!/bin/sh
service nginx stop
[ -f /run/services/named ] && service named stop
