#!/bin/sh
# Starts ucarp for both virtual hosts.
PATH=/usr/sbin:/sbin:/usr/bin:/bin
exec /usr/sbin/ucarp -i eth0 -v 40 -p hunter2 -a 192.168.32.22 \
  -u /etc/master-up.sh -d /etc/master-down.sh -s 192.168.32.32 -P -B -x 'a b' &
/usr/sbin/ucarp --interface=eth1 --vhid=41 --passfile=/etc/ucarp.pass --addr=10.0.0.22 --advskew=50 --advbase=2 --deadratio=5 --nomcast --neutral --shutdown -B
ucarp -i $IFACE -v 42 -p hunter2 -a 192.0.2.42
