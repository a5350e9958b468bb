#!/bin/sh
rm -rf /run/world/etc
rm -f /run/world/link /run/world/plain.conf /run/world/kept.conf /run/world/cat.conf
