#!/bin/sh
ip addr del $2/24 dev $1
