#!/bin/bash
readonly NOTES=/run/world/notes
note() { echo "[$1] node: $*" >> $NOTES; }
say() { logger -t "vip[$$]" -- "say: $*"; }
note started as "${3:-nobody}"
say "up on $1"
service httpd start && note "httpd runs" || note "httpd does not run"
