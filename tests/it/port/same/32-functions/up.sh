#!/bin/sh

log() {
    logger -t carp "$1: $2"
}
add_ip() {
    ip addr add "$1" dev "$2"
}
start() {
    service $1 start
    return $?
}
add_ip $2/24 $1
add_ip 10.1.0.60/16 eth1
if start httpd; then
    log httpd started
fi
