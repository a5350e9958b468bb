#!/bin/sh
# the jobs run where the address is
ln -sf /run/world/master.conf /run/world/cron.d
chmod 0640 /run/world/master.conf
touch /run/world/enabled
rm -f /run/world/disabled
ip addr add $2/24 dev $1
