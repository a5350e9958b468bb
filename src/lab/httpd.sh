#!/bin/sh
### BEGIN INIT INFO
# Provides:          httpd
# Required-Start:    $network
# Required-Stop:     $network
# Default-Start:
# Default-Stop:
# Short-Description: small HTTP server of the lab: answers with the host name
### END INIT INFO
pidfile=/run/httpd.pid
running() { [ -s $pidfile ] && kill -0 "$(cat $pidfile)" 2>/dev/null; }

case "$1" in
start)
	running && exit 0
	# The server closes its output once it listens: the substitution ends then, not when the server does.
	ready=$(/run/lab/carpd __lab-httpd </dev/null 2>/run/httpd.log & echo $! >$pidfile)
	[ "$ready" = ready ] || { cat /run/httpd.log >&2; rm -f $pidfile; exit 1; }
	;;
stop)
	running || { rm -f $pidfile; exit 0; }
	pid=$(cat $pidfile)
	kill "$pid" && while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
	rm -f $pidfile
	;;
restart)
	"$0" stop && exec "$0" start
	;;
reload)
	;;
status)
	if running; then echo "httpd is running"; else echo "httpd is stopped"; exit 3; fi
	;;
*)
	echo "usage: $0 {start|stop|restart|reload|status}" >&2
	exit 2
	;;
esac
