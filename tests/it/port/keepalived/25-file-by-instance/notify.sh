#!/bin/bash
DIR=/run
NAME=$2
echo "$3" > $DIR/vrrp.$NAME
echo $4 > /tmp/priority.$NAME
if [ "$3" = MASTER ]; then
    touch "/run/$NAME.master"
else
    rm -f "/run/$NAME.master"
fi
