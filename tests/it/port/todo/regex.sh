#!/bin/bash
if [[ $2 =~ ^10\. ]]; then # todo
  ip addr add $2/16 dev $1
fi
