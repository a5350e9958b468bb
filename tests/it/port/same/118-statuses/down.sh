#!/bin/sh
rm -f /run/world/rc
