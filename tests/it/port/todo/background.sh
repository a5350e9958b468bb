#!/bin/sh
nohup /usr/local/bin/watcher & # todo
/usr/local/bin/other & # todo
