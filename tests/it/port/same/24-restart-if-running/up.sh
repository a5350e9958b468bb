#!/bin/sh

if service httpd status > /dev/null; then
  service httpd restart
else
  service nginx start
fi
if systemctl is-active --quiet nginx; then
  systemctl start named
fi
