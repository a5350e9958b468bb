#!/bin/bash
ip addr del "$2/24" dev "$1" &>/dev/null
hostname ${3/vip/none}
