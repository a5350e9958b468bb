#!/bin/bash
export PATH=/usr/sbin:/sbin:/usr/bin:/bin
function up {
    if [[ -n $3 && $1 == eth0 ]]; then
        ip addr add "$2/24" dev "$1"
    fi
    [[ $2 == 192.168.* ]] && hostname vip
}
up "$1" "$2" "$3"
