#!/bin/sh

cp /run/world/master.conf /run/world/active.conf
printf 'role=%s\nvip=%s\n' master "$2" > /run/world/role
echo "more" >> /run/world/role
mv /run/world/one /run/world/two
cat > /run/world/here <<END
interface $1
address $2
END
