#!/bin/bash
rm -f /run/world/words
