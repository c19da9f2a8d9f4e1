#!/bin/sh
# Compares proto/ with the recorded ref (proto/.baseline), at WIRE level: etcd and state directories hold these messages.
set -eu
baseline=$(cat proto/.baseline)
if [ "$baseline" = none ]; then
	echo "breaking: no release or recorded ref to compare with yet"
	exit 0
fi
exec buf breaking proto --against ".git#ref=$baseline,subdir=proto"
