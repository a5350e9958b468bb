#!/bin/sh

/sbin/ifdown $1:ucarp
