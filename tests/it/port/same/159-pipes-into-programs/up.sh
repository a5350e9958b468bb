#!/bin/bash
# Tell people and machines about it.
node=$(hostname)
echo "$2 is up on $node" | mail -s "VIP up" root
{
  echo "Subject: $2 moved"
  echo
  echo "To $node, by $1."
} | sendmail -t
cat <<EOF | nc 10.1.0.9 1234
state master
address $2
EOF
printf 'no end' | nc 10.1.0.9 1235
printf '%s\n' one "$3" | nc -w 1 10.1.0.9 1236
nc 10.1.0.9 1237 < /run/world/master.conf
cat /run/world/master.conf | nc 10.1.0.9 1238
nc 10.1.0.9 1239 <<END
{"state": "master", "address": "$2"}
END
nc 10.1.0.9 1240 <<< '{"all": "fixed"}'
