#!/bin/sh
ip addr add $2/24 dev $1
service named start
