#!/bin/sh
umask 022
PREV=none
FILE=/run/world/keepalive.state
[ -f $FILE ] && PREV=$(cut -d= -f2 $FILE)
case "$1-$2" in
  INSTANCE-*|GROUP-*) ;;
  *) exit 2 ;;
esac
echo "state=$3" > $FILE.new && mv -f $FILE.new $FILE
[ "$PREV" = "$3" ] && exit 0
case "$PREV:$3" in
  *:MASTER) service httpd start ;;
  MASTER:*) service httpd stop ;;
  *) : ;;
esac
