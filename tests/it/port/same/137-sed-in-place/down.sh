#!/bin/bash
CFG=/run/world/app.conf
/sbin/ip address del "${2}/24" dev "${1}"
sed -i 's/^role=.*/role=backup/; s/^listen=.*/listen=127.0.0.1/' $CFG
sed -i '/^active=/d' $CFG
echo "# standby" >> $CFG
systemctl is-active --quiet httpd && systemctl stop httpd
