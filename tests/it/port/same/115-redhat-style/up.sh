#!/bin/sh
exec 2>/dev/null
[ -f /etc/sysconfig/ucarp-no-such ] && . /etc/sysconfig/ucarp-no-such
RETVAL=0
prog="vip"
start() {
	echo -n "Starting $prog: " > /dev/null
	/sbin/ip address add $1/24 dev $2
	RETVAL=$?
	[ $RETVAL -eq 0 ] && touch /run/world/subsys
	return $RETVAL
}
start $2 $1
exit $RETVAL
