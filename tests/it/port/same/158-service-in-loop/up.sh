#!/bin/sh
#
# DHCP must only run on the master
#
LEASES=/var/lib/dhcp/dhcpd.leases
PEER=10.1.0.3

scp -q -o ConnectTimeout=5 root@$PEER:$LEASES $LEASES.peer && mv $LEASES.peer $LEASES
chown root:root $LEASES
chmod 0644 $LEASES
if [ -x /etc/init.d/isc-dhcp-server ]; then
	/etc/init.d/isc-dhcp-server start
elif [ -x /etc/init.d/dhcpd ]; then
	/etc/init.d/dhcpd start
fi
ip addr add $2/24 broadcast 192.168.32.255 dev $1
