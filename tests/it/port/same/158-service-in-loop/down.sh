#!/bin/sh
ip addr del $2/24 dev $1
for d in isc-dhcp-server dhcpd; do
	test -x /etc/init.d/$d && /etc/init.d/$d stop
done
cp -p /var/lib/dhcp/dhcpd.leases /var/lib/dhcp/dhcpd.leases.`date +%u`
