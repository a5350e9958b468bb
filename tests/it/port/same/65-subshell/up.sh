#!/bin/sh
X=one
( X=two; echo $X > /run/world/a )
echo $X > /run/world/b
( exit 3 ) || echo failed > /run/world/c
