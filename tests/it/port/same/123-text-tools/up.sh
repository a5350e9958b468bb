#!/bin/sh
DEV=$1
MASK=$(ip -o -4 addr show dev $1 | awk '{print $4}' | cut -d/ -f2 | head -n 1)
NET=$(echo "10.1.0.2/16" | cut -d. -f1)
HOST=$(echo "$2" | awk -F. '{print $4}')
UPPER=$(echo "$DEV" | tr a-z A-Z)
BARE=$(echo "$DEV" | tr -d '0-9')
DASHED=$(echo "$2" | sed 's/\./-/g')
FIRST=$(echo "one two three" | awk '{print $1}')
LAST=$(echo "one two three" | awk '{ print $NF }')
echo "$MASK $NET $HOST $UPPER $BARE $DASHED $FIRST $LAST" > /run/world/text
if echo "$DEV" | grep -q '^eth[0-9]$'; then echo ethernet >> /run/world/text; fi
echo "$2" | grep -qE '^10\.' || echo "not ten" >> /run/world/text
IS=$(cat /run/world/master.conf | grep -v backup | sed -e 's/role/is/')
echo "$IS" >> /run/world/text
ROLE=$(grep role /run/world/master.conf | awk '{print $2}')
echo "$ROLE" >> /run/world/text
ip addr add $2/$MASK dev $DEV
