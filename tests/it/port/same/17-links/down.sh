#!/bin/sh

ip link set dummy0 down
ip link set dev dummy0 address 02:00:00:00:00:03
ip link del vbr
