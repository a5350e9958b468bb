#!/bin/sh
rm -f /run/world/sets
