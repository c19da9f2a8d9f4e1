package cli

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// advertised is the IP address at which other machines reach this one: the source address that the kernel picks towards the
// control plane, because what leads there leads to the mesh. On one machine that is loopback. Nothing is sent.
func (o *options) advertised(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // for names that must be looked up
	defer cancel()
	var first error
	for gateway := range strings.SplitSeq(o.gateway, ",") {
		conn, err := (&net.Dialer{}).DialContext(ctx, "udp", gateway)
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		local, ok := conn.LocalAddr().(*net.UDPAddr)
		conn.Close()
		if ok {
			return local.IP.String(), nil
		}
	}
	// A host that starts without a network, or without names, still has its address as a rule.
	if ip := firstAddress(); ip != "" {
		fmt.Fprintf(o.streams.Err, "weft: no route to the control plane (%v); peers are told %s: give --advertise if that is wrong\n", first, ip)
		return ip, nil
	}
	return "", fmt.Errorf("address of this machine: no route to the control plane: %w: give --advertise IP", first)
}

// firstAddress is the first address of this machine that is not loopback; empty when it has none.
func firstAddress() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return ""
}
