package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
)

// advertised is the IP address at which other machines reach this one: the source address that the kernel picks towards the
// control plane, because what leads there leads to the mesh. A control plane that advertises loopback is for one machine, and
// then this address is loopback too. Nothing is sent.
func (o *options) advertised(ctx context.Context, stateDir, token string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // for names that must be looked up
	defer cancel()
	var first error
	for _, address := range o.towards(stateDir, token) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "udp", address)
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

// towards are the addresses that the control plane advertises: those of the token, or of the state directory when there is no
// token because the control plane is away, or else those that this command uses itself.
func (o *options) towards(stateDir, token string) []string {
	if t, err := jointoken.Decode(token); err == nil {
		return t.Addresses.Identity
	}
	var stored struct {
		Addresses jointoken.Addresses `json:"addresses"`
	}
	data, err := os.ReadFile(filepath.Join(stateDir, "sidecar.json"))
	if err == nil && json.Unmarshal(data, &stored) == nil && len(stored.Addresses.Identity) > 0 {
		return stored.Addresses.Identity
	}
	return strings.Split(o.gateway, ",")
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
