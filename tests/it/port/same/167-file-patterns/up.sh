#!/bin/sh
# Files by patterns: moved, removed, gone over.
DIR=/run/jobs
mv $DIR/*.off /run/done
rm -f "$DIR"/old-*
rm -f $DIR/nothing-*
cp -p /run/"two words"/* /run/done
for f in $DIR/*.on /run/none/*; do
  echo "${f##*/}" >> /run/seen
done
ls $DIR/*.off > /dev/null 2>&1 || echo "none is off" >> /run/seen
