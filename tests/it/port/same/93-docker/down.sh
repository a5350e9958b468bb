#!/bin/bash
for c in cache db web; do docker stop -t 5 $c; done
ip addr del "$2/24" dev "$1"
