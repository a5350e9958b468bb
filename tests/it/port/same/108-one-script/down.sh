#!/bin/sh
# linked as up and down
ACTION=${0##*/}
case $ACTION in
  up.sh) OP=add; SRV=start ;;
  *) OP=del; SRV=stop ;;
esac
ip addr $OP $2/24 dev $1
service httpd $SRV
echo "$ACTION" >> /run/world/actions
