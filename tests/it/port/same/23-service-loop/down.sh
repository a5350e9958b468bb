#!/bin/sh

SERVICES="httpd nginx named"
for s in $SERVICES; do
  service $s stop || logger "could not stop $s"
done
