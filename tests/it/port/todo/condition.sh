#!/bin/sh
if ps ax | grep -q httpd; then # todo
  service httpd stop
fi
