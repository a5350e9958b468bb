#!/bin/sh
false && echo a > /run/world/a || echo b > /run/world/b
true || echo c > /run/world/c && echo d > /run/world/d
! false && echo e > /run/world/e
if false; then :; elif true; then echo f > /run/world/f; fi
i=0; while [ $i -lt 3 ]; do i=$((i+1)); echo $i >> /run/world/g; done
for x in 1 2 3; do [ $x = 2 ] && continue; echo $x >> /run/world/h; done
