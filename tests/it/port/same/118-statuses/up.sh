#!/bin/sh
/usr/local/sbin/tool fails
rc=$?
echo "rc $rc" > /run/world/rc
/usr/local/sbin/tool fails
case $? in
  0) echo zero >> /run/world/rc ;;
  7) echo seven >> /run/world/rc ;;
  *) echo other >> /run/world/rc ;;
esac
check() { /usr/local/sbin/tool "$1"; }
check status && echo fine >> /run/world/rc
check fails || echo broken >> /run/world/rc
[ -e /run/world/nothing ]
if [ $? -ne 0 ]; then echo missing >> /run/world/rc; fi
