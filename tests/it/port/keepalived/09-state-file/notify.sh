#!/bin/bash
# Other programs ask this file what we are.
echo $3 > /run/world/keepalived.state
