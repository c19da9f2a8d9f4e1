package model

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Bounds of external services: every sidecar holds all of them.
const (
	maxHost     = 253
	maxExternal = 100
)

// Validate lists the rules that an external service breaks.
func (e *ExternalService) Validate() []Violation {
	var v violations
	v.meta(&e.Meta)
	if len(e.Hosts)+len(e.Addresses) == 0 {
		v.add("spec.hosts", "is empty, and so is spec.addresses; give at least one of either")
	}
	v.atMost("spec.hosts", len(e.Hosts))
	for i, h := range e.Hosts {
		v.host(index("spec.hosts", i), h)
		v.once(index("spec.hosts", i), h, e.Hosts[:i])
	}
	v.atMost("spec.addresses", len(e.Addresses))
	for i, a := range e.Addresses {
		if _, err := ParseRange(a); err != nil {
			v.add(index("spec.addresses", i), "%q %s", clip(a), err)
		}
		v.once(index("spec.addresses", i), a, e.Addresses[:i])
	}
	v.atMost("spec.ports", len(e.Ports))
	for i, p := range e.Ports {
		if p == 0 {
			v.add(index("spec.ports", i), "0 is not a port; must be 1 to 65535")
		}
		v.once(index("spec.ports", i), fmt.Sprint(p), texts(e.Ports[:i]))
	}
	return v
}

func (v *violations) atMost(path string, n int) {
	if n > maxExternal {
		v.add(path, "has %d entries; at most %d are allowed", n, maxExternal)
	}
}

func (v *violations) once(path, value string, before []string) {
	if slices.Contains(before, value) {
		v.add(path, "%q is listed twice; each is listed once", clip(value))
	}
}

// host checks a DNS name as clients ask for it: labels of letters, digits, '-' and '_', which servers use though hosts may not.
func (v *violations) host(path, host string) {
	const rule = `must be a DNS name in lower case, which may begin with "*."`
	name := strings.TrimPrefix(host, "*.")
	if len(host) > maxHost || name == "" {
		v.add(path, "%q %s", clip(host), rule)
		return
	}
	if _, err := netip.ParseAddr(name); err == nil {
		v.add(path, "%q is an IP address; those go into spec.addresses", clip(host))
		return
	}
	for label := range strings.SplitSeq(name, ".") {
		if !IsLabel(strings.ReplaceAll(label, "_", "0")) {
			v.add(path, "%q %s", clip(host), rule)
			return
		}
	}
}

// ParseRange reads an IP address or a range in CIDR notation. An address is a range of one.
func ParseRange(text string) (netip.Prefix, error) {
	const rule = "must be an IP address or a range such as 192.0.2.0/24"
	if addr, err := netip.ParseAddr(text); err == nil {
		if addr.Zone() != "" || addr.Is4In6() {
			return netip.Prefix{}, errors.New("must have no zone and not be an IPv4 address in an IPv6 one")
		}
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Prefix{}, errors.New(rule)
	}
	if masked := prefix.Masked(); masked != prefix {
		return netip.Prefix{}, fmt.Errorf("has bits beyond its length; %s is the range that it is in", masked)
	}
	return prefix, nil
}

func texts(ports []uint16) []string {
	out := make([]string, 0, len(ports))
	for _, p := range ports {
		out = append(out, fmt.Sprint(p))
	}
	return out
}
