package proxy

import (
	"fmt"
	"strconv"
	"strings"
)

// Upstream is one service that the app calls through a loopback address of its own.
type Upstream struct {
	// Namespace and Name of the service.
	Namespace, Name string
	// Port of the service; 0: its only port.
	Port uint16
	// UDP: the port is one of UDP.
	UDP bool
	// LocalPort to listen on; 0: that of the last run, else any free one.
	LocalPort uint16
}

// ParseUpstream reads NAME[:PORT[/udp]][=LOCALPORT], where NAME may be "namespace/name".
func ParseUpstream(text, namespace string) (Upstream, error) {
	u := Upstream{Namespace: namespace}
	rest, local, hasLocal := strings.Cut(text, "=")
	name, port, hasPort := strings.Cut(rest, ":")
	if ns, short, ok := strings.Cut(name, "/"); ok {
		u.Namespace, name = ns, short
	}
	u.Name = name
	if u.Name == "" || u.Namespace == "" {
		return u, fmt.Errorf("upstream %q is not of the form NAME[:PORT[/udp]][=LOCALPORT]", text)
	}
	var err error
	if hasPort {
		port, u.UDP = strings.CutSuffix(port, "/udp")
		if u.Port, err = parsePort(port); err != nil {
			return u, fmt.Errorf("upstream %q: port: %w", text, err)
		}
	}
	if hasLocal {
		if u.LocalPort, err = parsePort(local); err != nil {
			return u, fmt.Errorf("upstream %q: local port: %w", text, err)
		}
	}
	return u, nil
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is not a number from 1 to 65535", text)
	}
	return uint16(n), nil
}

// Service is "namespace/name".
func (u Upstream) Service() string { return u.Namespace + "/" + u.Name }

// Key names the upstream in ports.json: "namespace/name:port", without the port when none was given, with "/udp" behind it for
// UDP.
func (u Upstream) Key() string {
	key := u.Service()
	if u.Port != 0 {
		key += ":" + strconv.Itoa(int(u.Port))
	}
	if u.UDP {
		key += "/udp"
	}
	return key
}
