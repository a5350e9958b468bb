#!/bin/sh
sed -i 's/backup/master/' /etc/app.conf # todo
service app restart
