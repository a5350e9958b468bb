#!/bin/sh

SERVICES="httpd nginx named"
for s in $SERVICES; do
  service $s start
done
