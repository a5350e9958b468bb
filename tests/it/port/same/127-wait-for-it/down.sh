#!/bin/bash
service httpd stop
ip addr del $2/24 dev $1
