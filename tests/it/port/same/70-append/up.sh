#!/bin/sh
echo one > /run/world/state
echo two >> /run/world/state
cat /run/world/state > /run/world/copy
date +%Y > /run/world/when
