#!/bin/sh
service named stop
ip addr del $2/24 dev $1
