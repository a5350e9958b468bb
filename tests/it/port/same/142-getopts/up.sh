#!/bin/sh
prog=`basename $0`
configure() {
    prefix=32
    announce=no
    OPTIND=1
    while getopts "i:a:p:g" opt; do
        case $opt in
            i) dev=$OPTARG ;;
            a) addr=$OPTARG ;;
            p) prefix=$OPTARG ;;
            g) announce=yes ;;
            *) echo "$prog: bad option" >&2; return 2 ;;
        esac
    done
    ip addr add $addr/$prefix dev $dev
    [ $announce = yes ] && arping -c 1 -A -I $dev $addr >/dev/null
    return 0
}
configure -i $1 -a $2 -p 24 -g
configure -i eth1 -a 10.1.0.22
