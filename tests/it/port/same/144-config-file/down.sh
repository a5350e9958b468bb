#!/bin/sh
for LINE in $(grep -v '^#' /run/world/vips | awk '{ print $2 "/" $3 "@" $1 }'); do
    ip addr del ${LINE%@*} dev ${LINE#*@}
done
echo 0 > /run/world/count
rm -f /run/world/since.log
