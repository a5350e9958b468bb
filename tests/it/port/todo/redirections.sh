#!/bin/sh
/usr/local/bin/x 2> /run/errors # todo
{ echo a; echo b; } > /run/both
/usr/local/bin/x < $3 # todo
exec 3> /run/lock # todo
echo x > relative.txt # todo
echo 1 > /sys/class/leds/x # todo
