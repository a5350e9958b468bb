#!/bin/sh
echo new > /run/world/over
rm -f /run/world/gone
