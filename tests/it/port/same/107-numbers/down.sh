#!/bin/sh
rm /run/world/prio
