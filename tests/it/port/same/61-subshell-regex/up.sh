#!/bin/bash
( cd /run/world && touch here )
{ echo a; echo b; } > /run/world/two
if [[ $2 =~ ^10 ]]; then hostname ten; fi
