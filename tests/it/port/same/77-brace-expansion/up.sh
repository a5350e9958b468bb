#!/bin/bash
for n in {1..3}; do touch /run/world/n$n; done
mkdir -p /run/world/{a,b}
cp /run/world/one{,.bak}
