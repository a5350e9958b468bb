#!/bin/sh
rm -f /run/world/id /run/world/env /run/world/name /run/world/printed /run/world/noend /run/world/empty /run/world/empty2 /run/world/group
