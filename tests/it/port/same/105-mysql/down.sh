#!/bin/bash
mysql --defaults-file=/etc/mysql/debian.cnf -e "SET GLOBAL read_only = ON"
/sbin/ip addr del $2/32 dev $1
