#!/bin/sh
. ${0%/*}/common.sh
announce_role backup
give "$2" "$1"
