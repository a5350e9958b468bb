#!/bin/sh

service httpd stop
/etc/init.d/nginx stop
systemctl stop named.service
