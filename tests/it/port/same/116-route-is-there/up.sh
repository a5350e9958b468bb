#!/bin/sh
ip route add default via 192.168.32.254
ip route add default via 192.168.32.253
ip route add 10.77.0.0/16 via 10.1.0.9
ip route add 10.77.0.0/16 via 10.1.0.8 metric 20
ip route show 10.77.0.0/16
