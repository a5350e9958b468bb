#!/bin/sh
ip route del default
ip route del 10.77.0.0/16 metric 20
ip route del 10.77.0.0/16
