#!/bin/sh
ENDSTATE=$3
NAME=$2
TYPE=$1
DIR=/run/world
new=$(echo "$ENDSTATE" | tr 'A-Z' 'a-z')
[ -f $DIR/$new.conf ] || new=backup
ln -sfn $DIR/$new.conf $DIR/current
if [ "$(readlink $DIR/current)" = $DIR/master.conf ]; then
    systemctl is-active --quiet nginx && systemctl reload nginx || systemctl start nginx
else
    systemctl stop nginx
fi
echo "$ENDSTATE" > $DIR/vrrp.$NAME
