#!/bin/sh
cd /run/world/conf && rm -f on.cfg copy.cfg
cd /run/world/missing && echo wrong > wrong
cd /
service nginx stop
