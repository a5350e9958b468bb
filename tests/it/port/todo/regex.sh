#!/bin/bash
if [[ $2 =~ ^(10|172)\. ]]; then # todo
  ip addr add $2/16 dev $1
fi
grep -q 'a\|b' /etc/hosts && hostname x
