#!/bin/sh
service postfix start
uptime | mail -s "$2 moved" root
