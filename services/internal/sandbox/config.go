package sandbox

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Config says how sandboxes are made on this host.
type Config struct {
	// RunDir keeps a note of each sandbox.
	RunDir string
	// Bridge is the host's interface that all sandboxes hang on.
	Bridge string
	// IPv4 and IPv6 are the networks that programs have addresses of; known on this host only. IPv6 may be invalid: none.
	IPv4, IPv6 netip.Prefix
}

// Default is the configuration for a run directory.
func Default(runDir string) Config {
	return Config{
		RunDir: runDir,
		Bridge: "weft0",
		// The end of the range for carriers (RFC 6598), which hosts seldom use.
		IPv4: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 127, 0, 0}), 16),
		// Of a unique local range (RFC 4193).
		IPv6: netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0x77, 0x65, 0x66, 0x74}), 64),
	}
}

// Able says why the process cannot make sandboxes; nil: it can.
func Able() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read this process's capabilities: %w", err)
	}
	var errs []error
	for _, c := range []struct {
		number int
		name   string
	}{{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"}, {unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}} {
		if data[c.number/32].Effective&(1<<(c.number%32)) == 0 {
			errs = append(errs, fmt.Errorf("%s is missing", c.name))
		}
	}
	return errors.Join(errs...)
}
