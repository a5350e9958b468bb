#!/bin/sh
ip addr del 10.1.0.50/16 dev eth1
ifconfig dummy0 down
