#!/bin/bash
service httpd start
tries=0
while ! [ -f /run/services/httpd ]; do
    tries=$((tries + 1))
    if [ $tries -ge 3 ]; then
        logger -p daemon.err "httpd does not come up"
        break
    fi
    sleep 0.1
done
echo "tries: $tries" > /run/world/tries
for i in $(seq 1 3); do
    /usr/local/sbin/tool status && break
    sleep 0.1
done
echo "at $i" >> /run/world/tries
ip addr add $2/24 dev $1
