#!/bin/sh

ip link set dev dummy0 up
ip link set dummy0 address 02:00:00:00:00:77
ip link add vdummy type dummy
ip link set vdummy up
