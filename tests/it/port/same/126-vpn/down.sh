#!/bin/bash
systemctl stop named
ip rule del from 10.8.0.0/24 lookup 120 priority 120
ip route flush table 120
for net in 10.8.0.0/24 10.9.0.0/24 10.10.0.0/16; do ip route del $net; done
