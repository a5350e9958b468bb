#!/bin/sh
rm -f /run/world/list /run/world/ends
