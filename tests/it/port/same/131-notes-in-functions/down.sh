#!/bin/sh
service httpd stop
rm -f /run/world/notes
