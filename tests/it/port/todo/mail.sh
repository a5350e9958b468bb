#!/bin/sh
echo "$2 is up" | mail -s up root # todo
