#!/bin/sh
service postfix start
cat /var/spool/vip/*.txt | mail -s "$2 moved" root
