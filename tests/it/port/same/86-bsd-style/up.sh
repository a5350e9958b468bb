#! /bin/sh -

if_name=$1
vip_addr=$2
: ${vip_prefix="24"}
: ${announce:=2}

ip addr add ${vip_addr}/${vip_prefix} dev ${if_name}
n=0
until [ ${n} -eq ${announce} ]; do
	n=$((${n}+1))
	echo ${n} >> /run/world/announced
done
