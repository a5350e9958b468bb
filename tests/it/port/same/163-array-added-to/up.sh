#!/bin/bash
NETS=(10.20.0.0/16 10.21.0.0/16)
NETS+=("10.22.0.0/16")
[ "$3" = node2 ] && NETS+=(10.23.0.0/16 10.24.0.0/16)
for net in "${NETS[@]}"; do
  ip route replace "$net" via 10.1.0.1
done
