#!/bin/sh
PRIO=100
BONUS=$((PRIO / 3))
NEXT=$(($PRIO + $BONUS))
if [ $NEXT -gt 120 ]; then echo high > /run/world/prio; else echo low > /run/world/prio; fi
i=3
while [ "$i" -gt 0 ]; do
  echo "$i" >> /run/world/prio
  i=`expr $i - 1`
done
[ "$MISSING" -lt 5 ] || echo "no number" >> /run/world/prio
[ "$MISSING" -ne 5 ] || echo "never" >> /run/world/prio
echo "$BONUS/$NEXT" >> /run/world/prio
