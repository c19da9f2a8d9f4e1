#!/bin/sh
# Compares proto/ with what the last release promised (proto/baseline.binpb), at WIRE level: etcd and state directories hold
# these messages. A release renews the file: buf build proto -o proto/baseline.binpb
set -eu
exec buf breaking proto --against proto/baseline.binpb
