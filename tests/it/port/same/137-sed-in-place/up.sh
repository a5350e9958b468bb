#!/bin/bash
set -u
readonly CFG=/run/world/app.conf
test -w "$CFG" || exit 0
/sbin/ip address add "${2}/24" brd + dev "${1}" label "${1}:vip"
sed -i -e 's/^role=.*/role=master/' -e "s/^listen=.*/listen=${2}/" "$CFG"
sed -i '/^# standby$/d' $CFG
grep -q '^active=' "$CFG" || echo 'active=yes' >> "$CFG"
systemctl is-active --quiet nginx && systemctl restart nginx
systemctl is-active --quiet httpd || systemctl start httpd
