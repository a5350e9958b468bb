#!/bin/bash
EXTRA="-v"
[ -f /run/world/quiet ] && EXTRA=""
/usr/local/sbin/tool $EXTRA go
FORCE=
/usr/local/sbin/tool ${FORCE:+--force} stop
/usr/local/sbin/tool ${EXTRA:+$EXTRA --more} again
WORDS="one  two   three"
/usr/local/sbin/tool $WORDS
/usr/local/sbin/tool "$WORDS"
echo $WORDS > /run/world/words
echo "$WORDS" >> /run/world/words
for w in $WORDS four; do echo "<$w>" >> /run/world/words; done
