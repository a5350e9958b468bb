#!/bin/sh
CT=/usr/sbin/conntrackd
CONF=/etc/conntrackd/conntrackd.conf
case "$1" in
  primary)
    $CT -C $CONF -c
    if [ $? -eq 1 ]; then logger "ERROR: failed to invoke conntrackd -c"; fi
    $CT -C $CONF -B
    ;;
  backup)
    $CT -C $CONF -s
    if [ $? -eq 1 ]; then
        $CT -C $CONF -d
        if [ $? -eq 1 ]; then logger "ERROR: cannot launch conntrackd"; exit 1; fi
    fi
    $CT -C $CONF -t
    $CT -C $CONF -n
    ;;
  fault)
    $CT -C $CONF -t
    ;;
  *)
    logger "ERROR: unknown state transition"
    echo "Usage: primary-backup.sh {primary|backup|fault}"
    exit 1
    ;;
esac
exit 0
