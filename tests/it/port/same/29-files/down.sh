#!/bin/sh

cp -f /run/world/backup.conf /run/world/active.conf
rm /run/world/role
mv /run/world/two /run/world/one
cat <<'END' > /run/world/here
$1 stays
END
