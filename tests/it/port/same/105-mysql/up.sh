#!/bin/bash

MYSQL="mysql --defaults-file=/etc/mysql/debian.cnf"
DEV=$1
ADDR=$2
LOG=/var/log/ucarp-mysql.log

echo "$(date) - $0: $ADDR up on $DEV" >> $LOG
$MYSQL -e "STOP SLAVE" >> $LOG 2>&1
$MYSQL -e "RESET SLAVE ALL" >> $LOG 2>&1
$MYSQL -e "SET GLOBAL read_only = OFF" >> $LOG 2>&1

if [ $? -ne 0 ]; then
    echo "cannot make it writable" >> $LOG
fi
/sbin/ip addr add $ADDR/32 dev $DEV
