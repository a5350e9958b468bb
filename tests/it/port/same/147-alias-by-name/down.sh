#!/bin/sh
ALIAS=$1:7
ifconfig $ALIAS down
