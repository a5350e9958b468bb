#!/bin/sh
echo $$ > /run/up.pid # todo
trap 'rm /run/up.pid' HUP # todo
