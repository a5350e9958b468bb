#!/bin/sh

service httpd start
/etc/init.d/nginx start
systemctl start named.service
