#!/bin/sh

/sbin/ifup $1:ucarp
