#!/bin/bash
FLAG=/run/world/is-master
if [ "$3" == "MASTER" ]; then
    touch $FLAG
elif [ "$3" == "BACKUP" ] || [ "$3" == "FAULT" ] || [ "$3" == "STOP" ]; then
    rm -f $FLAG
fi
