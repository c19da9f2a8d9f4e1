package capture

import (
	"errors"
	"fmt"
)

// The values that mark the sidecar's own sockets and processes.
const (
	// Mark is on the sidecar's sockets in the program's namespace.
	Mark = 0x539
	// UID is the sidecar's user where it shares the program's namespace.
	UID = 1337
)

const (
	// Table is the packet filter's table; its family is inet.
	Table = "weft"
	// divert marks datagrams that the routing rule sends back inside, to the sidecar.
	divert = 1
	// divertTable is the routing table of that rule.
	divertTable = 15001
	// dnsPort is never captured.
	dnsPort = 53
)

// Config says what is redirected where.
type Config struct {
	// Outbound is the sidecar's port for what the program sends, TCP and UDP.
	Outbound uint16
	// Inbound is the sidecar's port for plaintext that reaches the program.
	Inbound uint16
	// Mesh is the sidecar's port for mTLS where it listens in the namespace too; 0: it listens elsewhere.
	Mesh uint16
	// ExcludeOutbound are destination ports that leave uncaptured, for the few protocols that break behind a proxy.
	ExcludeOutbound []uint16
}

// Default has the conventional ports.
func Default() Config { return Config{Outbound: 15001, Inbound: 15006} }

// Validate reports everything that is wrong.
func (c *Config) Validate() error {
	var errs []error
	for _, p := range []struct {
		field string
		port  uint16
	}{{"outbound-port", c.Outbound}, {"inbound-port", c.Inbound}} {
		if p.port == 0 {
			errs = append(errs, fmt.Errorf("%s: 0 is not a port to listen on: give a number from 1 to 65535", p.field))
		}
	}
	if c.Outbound == c.Inbound {
		errs = append(errs, fmt.Errorf("inbound-port: %d is the outbound port already", c.Inbound))
	}
	for _, p := range c.ExcludeOutbound {
		if p == 0 {
			errs = append(errs, errors.New("exclude-outbound: 0 is not a port"))
		}
	}
	return errors.Join(errs...)
}
