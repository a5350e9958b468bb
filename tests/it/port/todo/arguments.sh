#!/bin/sh
/usr/local/bin/hook "$@" # todo
