#!/bin/sh
ip rule add from 10.1.0.2 table 200
ip route add 10.5.0.0/16 via 10.1.0.9 table 200
