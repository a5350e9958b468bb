# What the machine looks like, in a form that can be compared.
export PATH=/usr/sbin:/sbin:/usr/bin:/bin
echo "-- addresses"
ip -o addr show | awk '$4 !~ /^fe80/ { print $2, $4 }' | sort
echo "-- links"
for dev in $(ls /sys/class/net); do
  flags=$(cat /sys/class/net/$dev/flags)
  echo "$dev $(cat /sys/class/net/$dev/address) up=$((flags & 1)) mtu=$(cat /sys/class/net/$dev/mtu)"
done
echo "-- routes"
{ ip -o route show table all; ip -o -6 route show table all; } |
  grep -v -e 'table local' -e '^fe80' -e '^ff00' -e '^local' -e '^broadcast' -e '^multicast' |
  sed -e 's/ proto [a-z0-9]*//; s/ linkdown//; s/ pref medium//; s/ scope [a-z]*//; s/  */ /g; s/ $//' | sort
echo "-- rules"
{ ip rule; ip -6 rule; } | sed 's/[ \t][ \t]*/ /g'
echo "-- neighbours"
ip neigh show nud permanent
echo "-- host name"
cat /proc/sys/kernel/hostname
echo "-- parameters"
for key in net.ipv4.ip_forward net.ipv4.conf.all.arp_ignore net.ipv4.conf.eth0.arp_announce; do
  echo "$key $(cat /proc/sys/$(echo $key | tr . /))"
done
echo "-- services"
ls /run/services
echo "-- files"
find /run/world ! -name '*.log' | sort | while read -r file; do
  echo "$file: $(stat -c '%F %a %u %g' "$file")"
  [ ! -f "$file" ] || cat -v "$file"
done
