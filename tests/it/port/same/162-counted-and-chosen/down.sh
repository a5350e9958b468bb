#!/bin/sh
service nginx stop
