#!/bin/sh
chmod 600 /run/world/master.conf
chown 33:33 /run/world/master.conf
cp /run/world/master.conf /run/world/plain.conf
cp -p /run/world/master.conf /run/world/kept.conf
mkdir -p /run/world/etc/app
cp /run/world/backup.conf /run/world/etc/app/
mv /run/world/one /run/world/etc/app
cat /run/world/master.conf > /run/world/cat.conf
ln -s /run/world/kept.conf /run/world/link
