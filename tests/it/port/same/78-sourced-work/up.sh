#!/bin/sh
. /run/world/do-it.sh
