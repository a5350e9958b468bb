#!/bin/sh
/usr/local/sbin/environment
