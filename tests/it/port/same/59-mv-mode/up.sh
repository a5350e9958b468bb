#!/bin/sh
mv /run/world/a.conf /run/world/b.conf
cp -p /run/world/c.conf /run/world/d.conf
cp /run/world/bin /run/world/bin2
