//go:build !linux

package datagram

import "net"

// DetectDead does what it can only do on Linux; elsewhere the limits of TCP itself hold.
func DetectDead(net.Conn) {}
