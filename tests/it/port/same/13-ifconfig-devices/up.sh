#!/bin/sh
ifconfig eth1:5 10.1.0.50 netmask 255.255.0.0 broadcast 10.1.255.255 up
ifconfig dummy0 up
