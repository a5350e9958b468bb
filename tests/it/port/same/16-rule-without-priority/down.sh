#!/bin/sh
ip rule del from 10.1.0.2 table 200
ip route flush table 200
