#!/bin/sh
# Unpacks the real programs that tests use as workloads (nginx, HAProxy, redis, PostgreSQL, dnsmasq, slowhttptest) from Debian's packages into the
# cache, without root, and prints the folder that they are below. On a machine that is not Debian, or whose package lists
# cannot be read, it says so and ends with code 3: the caller then uses what is in PATH.
set -eu
. "$(dirname "$0")/lib.sh"

packages="tcpdump libpcap0.8 nginx libnginx-mod-stream redis-server redis-tools postgresql-15 postgresql-client-15 libpq5 libjemalloc2 liblua5.1-0 lua-cjson
lua-bitop liblzf1 libatomic1 libhiredis0.14 libpcre2-8-0 libxml2 libxslt1.1 libicu72 libldap-2.5-0 libsasl2-2 libllvm14
libz3-4 libedit2 libbsd0 libmd0 dnsmasq-base libnetfilter-conntrack3 libnfnetlink0 libdbus-1-3 libidn2-0 libunistring2
libnettle8 libhogweed6 libgmp10 libnftables1 libnftnl11 libmnl0 libxtables12 libjansson4 haproxy liblua5.3-0
libopentracing-c-wrapper0 libopentracing1 slowhttptest"

unpack() {
	command -v apt-get >/dev/null || return 1
	mkdir -p "$1/deb" || return 1
	# shellcheck disable=SC2086 # the list is meant to be split
	if ! (cd "$1/deb" && apt-get download $packages >/dev/null 2>&1); then
		# Lists are missing or old. Only root may renew them.
		[ "$(id -u)" = 0 ] && apt-get update >/dev/null
		# shellcheck disable=SC2086
		(cd "$1/deb" && apt-get download $packages >/dev/null) || return 1
	fi
	for deb in "$1"/deb/*.deb; do
		dpkg -x "$deb" "$1" || return 1
	done
	rm -r "$1/deb"
}

name=debian-$(echo "$packages" | sha256sum | cut -c1-12)
if ! install_once "$name" unpack; then
	say "NOT INSTALLED: nginx, redis, PostgreSQL and dnsmasq could not be unpacked from Debian's packages"
	exit 3
fi
echo "$tools/$name"
