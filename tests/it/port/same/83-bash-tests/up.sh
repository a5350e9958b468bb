#!/bin/bash
if [[ $1 =~ ^eth[0-9]+$ && -n $2 ]]; then echo "a" > /run/world/tests; fi
if [[ "$2" != 10.* ]] && [[ $3 == node* || -z $3 ]]; then echo "b" >> /run/world/tests; fi
[[ ! -e /run/world/nothing ]] && echo "c" >> /run/world/tests
if (( $# >= 2 )); then echo "d" >> /run/world/tests; fi
name=${2//./-}
echo "$name ${name/-/+} ${1%0} ${2##*.} ${#1}" >> /run/world/tests
echo -e "x\ty" >> /run/world/tests
NET+=10; NET+=.1
echo "$NET" >> /run/world/tests
