#!/bin/bash
del() { ip addr del $1 dev $2; }
del 10.1.0.61/16 eth1
del 10.1.0.62/16 eth1
del $2/24 $1
