#!/bin/sh
DIR=$(cd "$(dirname "$0")" && pwd)
. "$DIR/common.sh"
announce_role master
take "$2" "$1"
