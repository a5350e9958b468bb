#!/bin/sh

/usr/local/sbin/tool promote $1
/usr/local/sbin/tool mount /dev/drbd0 /srv
/usr/local/sbin/tool address "$2/24"
/usr/local/sbin/tool fails || /usr/local/sbin/tool rescued
if /usr/local/sbin/tool status; then service httpd start; fi
ID=$(/usr/local/sbin/tool id)
echo "id $ID" > /run/world/id
/usr/local/sbin/tool id > /run/world/id2
