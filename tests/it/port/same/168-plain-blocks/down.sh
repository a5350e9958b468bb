#!/bin/bash
for n in 10.20.0.0/16 10.21.0.0/16; do ip route del $n; done
ip route del default
