#!/bin/sh

service httpd stop
/usr/local/sbin/tool umount /srv
/usr/local/sbin/tool demote $1
