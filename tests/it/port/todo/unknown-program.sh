#!/bin/sh
$TOOL start # todo
