#!/bin/sh
TYPE=$1 NAME=$2 STATE=$3
case $STATE in
  MASTER) service nginx restart; echo up > /run/world/health ;;
  BACKUP) service nginx reload; echo ok > /run/world/health ;;
  FAULT)  service nginx stop; echo bad > /run/world/health ;;
  STOP)   echo gone > /run/world/health ;;
esac
