#!/bin/sh
TOKEN=abc
/usr/local/sbin/tool -H "Authorization: Bearer $TOKEN" http://10.9.0.9/
/usr/local/sbin/tool -H "X-Node: $(hostname) up" http://10.9.0.9/
