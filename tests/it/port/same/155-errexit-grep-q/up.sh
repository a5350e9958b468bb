#!/bin/bash
set -euo pipefail
ip link show | grep -q eth0
hostname ready
