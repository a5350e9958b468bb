#!/bin/sh

del_ip () { ip addr del $1 dev $2; }
del_ip 10.1.0.60/16 eth1
del_ip $2/24 $1
service httpd stop
