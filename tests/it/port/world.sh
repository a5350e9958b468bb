# The machine that scripts and ports start from. Run in namespaces of its own.
export PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin
set -e
mount -t tmpfs none /run
mount -t tmpfs none /usr/local/sbin
mount -t tmpfs none /etc/init.d
mkdir -p /run/world /run/services
ip link set lo up
for i in 1 2 3; do
  dev=$(echo eth0 eth1 dummy0 | cut -d ' ' -f $i)
  ip link add $dev address 02:00:00:00:00:0$i type veth peer name peer$i address 02:00:00:00:01:0$i
  echo 1 > /proc/sys/net/ipv6/conf/$dev/addr_gen_mode
  echo 1 > /proc/sys/net/ipv6/conf/peer$i/addr_gen_mode
  ip link set peer$i up
done
ip addr add 192.168.32.2/24 dev eth0
ip addr add 10.1.0.2/16 dev eth1
ip link set eth0 up
ip link set eth1 up
hostname node2
for service in httpd nginx named; do
  cat > /etc/init.d/$service <<END
#!/bin/sh
case \$1 in
  start) touch /run/services/$service ;;
  stop) rm -f /run/services/$service ;;
  restart) touch /run/services/$service /run/services/$service-restarted ;;
  reload) touch /run/services/$service-reloaded ;;
  status) [ -f /run/services/$service ] || exit 3 ;;
esac
END
  chmod +x /etc/init.d/$service
done
cat > /usr/local/sbin/systemctl <<'END'
#!/bin/sh
[ "$2" = --quiet ] && set -- "$1" "$3"
case $1 in is-active) set -- status "$2" ;; esac
/etc/init.d/${2%.service} $1
END
cat > /usr/local/sbin/ifup <<'END'
#!/bin/sh
ip addr add 192.168.32.22/24 dev ${1%:*}
END
cat > /usr/local/sbin/ifdown <<'END'
#!/bin/sh
ip addr del 192.168.32.22/24 dev ${1%:*}
END
cat > /usr/local/sbin/tool <<'END'
#!/bin/sh
case $1 in
  id) echo 42 ;;
  fails) exit 7 ;;
  status) exit 0 ;;
  *) for word in "$@"; do printf "<%s>" "$word"; done >> /run/world/tool; echo >> /run/world/tool ;;
esac
END
chmod +x /usr/local/sbin/*
echo node2 > /run/world/hostname
echo 'role master' > /run/world/master.conf
echo 'role backup' > /run/world/backup.conf
echo 1 > /run/world/one
# Programs of other packages: what they are called with is kept.
for name in iptables iptables-restore conntrack drbdadm exportfs mount umount psql mysql rndc squid ssh docker \
  firewall-cmd pg_ctlcluster pkill nft conntrackd; do
  cat > /usr/local/sbin/$name <<'END'
#!/bin/sh
for word in "${0##*/}" "$@"; do printf '<%s>' "$word"; done >> /run/world/calls
echo >> /run/world/calls
END
done
# And what they read.
for name in mail sendmail nc; do
  cat > /usr/local/sbin/$name <<'END'
#!/bin/sh
for word in "${0##*/}" "$@"; do printf '<%s>' "$word"; done >> /run/world/calls
echo >> /run/world/calls
cat -A >> /run/world/calls
echo >> /run/world/calls
END
done
cat > /usr/local/sbin/environment <<'END'
#!/bin/sh
echo "environment: $RESOURCE, $MODE, $TIMEOUT"
echo "environment: $RESOURCE, $MODE, $TIMEOUT" >> /run/world/calls
END
cat > /usr/local/sbin/sudo <<'END'
#!/bin/sh
[ "$1" = -n ] && shift
exec "$@"
END
chmod +x /usr/local/sbin/*
mkdir -p /run/ucarp
