package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/proxy/internal/capture"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/successor"
)

// Config is everything that a sidecar is told when it starts.
type Config struct {
	// Namespace and Workload name the sidecar's own workload.
	Namespace, Workload string
	// Services of the namespace that the workload is an endpoint of; none: it only calls others.
	Services []string
	// Labels that routes select on.
	Labels map[string]string
	// AppPort is where the app listens, on loopback; 0: nowhere.
	AppPort uint16
	// Protocol that the app speaks on its port: "", "http", "http2", "grpc", "tcp" or "udp".
	Protocol string
	// UDP: the app takes datagrams on its port besides what it speaks over TCP.
	UDP bool
	// Upstreams get a loopback listener each.
	Upstreams []Upstream
	// StateDir keeps what a restart needs; empty: the default for the workload.
	StateDir string
	// JoinToken is the text of the one-time token; empty: what is stored is used.
	JoinToken string
	// Addresses of the control plane, instead of those that the token carries.
	Addresses jointoken.Addresses
	// Advertise is the IP address at which other sidecars reach this one.
	Advertise string
	// MTLS tightens the mesh's mode for this workload: "strict", or empty for the mesh's own.
	MTLS string
	// MeshPort, InboundPort and AdminPort to listen on; 0: those of the last run, else any free ones.
	MeshPort, InboundPort, AdminPort uint16
	// Capture says how the app's traffic comes to the sidecar when the app calls others by their names; zero: it does not.
	Capture Capture
	// AccessLog receives every AccessLogSample-th request; nil: none.
	AccessLog       io.Writer
	AccessLogSample int
	// Drain bounds how long requests in flight may take after the end was asked for.
	Drain time.Duration
	// Linger is how long the sidecar still serves new requests after it has deregistered, while the news spreads.
	Linger time.Duration
	// Limits bound what peers cost, in each direction.
	Limits limit.Limits
	// MaxConfigAge is how old the stored configuration may be that a restart serves from.
	MaxConfigAge time.Duration
	// TakeOver takes the place of the process that runs with the state directory, with its sockets, instead of starting anew.
	TakeOver bool
	// Upgrade is how this process gives its own place away.
	Upgrade Upgrade
}

// Upgrade is the replacement of a running sidecar's process by a new one.
type Upgrade struct {
	// Starter starts the new process; nil: only one that somebody else starts can take over.
	Starter successor.Starter
	// Requests each ask for an upgrade to the program that is on disk; nil: none come.
	Requests <-chan os.Signal
	// Timeout is how long the new process may take until it serves.
	Timeout time.Duration
	// Drain is how long connections of the old process may live on.
	Drain time.Duration
}

// Capture is transparent capture: the kernel redirects what the app sends and receives, as package capture programs it.
type Capture struct {
	// Transparent opens the listeners that traffic is redirected to.
	Transparent bool
	// NamespaceFD is a file descriptor of the network namespace that the app has to itself, inherited at the start; 0: it
	// shares the sidecar's.
	NamespaceFD uintptr
	// OutboundPort and InboundPort are redirected to, for what the app sends and what reaches it as plaintext.
	OutboundPort, InboundPort uint16
	// Unpublished: where the app has a network namespace to itself, its port is not opened on the host. Else it is if it is
	// free, so that callers outside of the mesh find the app where it would be without capture.
	Unpublished bool
	// HostsFile is kept up to date with the names of all services; empty: the app resolves names otherwise.
	HostsFile string
	// HostsBase is the file whose lines stand first in HostsFile.
	HostsBase string
}

// Default is the configuration before flags.
func Default() Config {
	return Config{
		Namespace:       "default",
		Advertise:       "127.0.0.1",
		AccessLogSample: 1,
		Drain:           30 * time.Second,
		Linger:          500 * time.Millisecond,
		Capture:         Capture{OutboundPort: capture.Default().Outbound, InboundPort: capture.Default().Inbound, HostsBase: "/etc/hosts"},
		Limits:          limit.Default(),
		MaxConfigAge:    48 * time.Hour, // no longer than an SVID lives
		Upgrade:         Upgrade{Timeout: 10 * time.Second, Drain: 10 * time.Minute},
	}
}

// Validate reports everything that is wrong with the configuration.
func (c *Config) Validate() error {
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	label := regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	for field, name := range map[string]string{"namespace": c.Namespace, "workload": c.Workload} {
		if !label.MatchString(name) {
			problem("%s: %q is not a name: lower-case letters, digits and \"-\", at most 63", field, name)
		}
	}
	for _, s := range c.Services {
		if !label.MatchString(s) {
			problem("service: %q is not the name of a service", s)
		}
	}
	if len(c.Services) > 0 && c.AppPort == 0 {
		problem("app-port: a workload that is an endpoint of %q needs the port that its app listens on", c.Services)
	}
	if c.UDP && c.AppPort == 0 {
		problem("udp: the app's port is missing; give app-port")
	}
	if _, err := parseProtocol(c.Protocol); err != nil {
		errs = append(errs, err)
	}
	if _, err := netip.ParseAddr(c.Advertise); err != nil {
		problem("advertise: %q is not an IP address", c.Advertise)
	}
	if c.MTLS != "" && c.MTLS != "strict" {
		problem("mtls: %q is not possible: a workload may only be stricter than its mesh, which is \"strict\"; an administrator loosens the mesh's own mode by its MeshConfig", c.MTLS)
	}
	for field, d := range map[string]time.Duration{"drain": c.Drain, "linger": c.Linger, "max-config-age": c.MaxConfigAge,
		"upgrade-timeout": c.Upgrade.Timeout, "upgrade-drain": c.Upgrade.Drain} {
		if d < 0 {
			problem("%s: %v is negative", field, d)
		}
	}
	errs = append(errs, c.Capture.validate(), c.Limits.Validate())
	seen := map[string]bool{}
	for _, u := range c.Upstreams {
		if !label.MatchString(u.Namespace) || !label.MatchString(u.Name) {
			problem("upstream: %q is not the name of a service", u.Service())
		}
		if seen[u.Key()] {
			problem("upstream: %s is named twice", u.Key())
		}
		seen[u.Key()] = true
	}
	return errors.Join(errs...)
}

func (c *Capture) validate() error {
	switch {
	case c.Transparent:
		kernel := capture.Config{Outbound: c.OutboundPort, Inbound: c.InboundPort}
		if err := kernel.Validate(); err != nil {
			return fmt.Errorf("capture-%w", err)
		}
	case c.NamespaceFD != 0:
		return errors.New("namespace-fd: the app's namespace is of use with --transparent only")
	}
	return nil
}

// plaintextPort is the port of this host at which callers outside of the mesh reach the app. required: the sidecar does not start
// without it; 0 is any free one then, and none otherwise. A captured app that shares the host's namespace needs none: what is
// sent to its own port is redirected.
func (c *Config) plaintextPort() (port uint16, required bool) {
	switch {
	case !c.Capture.Transparent || c.InboundPort != 0:
		return c.InboundPort, true
	case c.Capture.NamespaceFD != 0 && !c.Capture.Unpublished:
		return c.AppPort, false
	default:
		return 0, false
	}
}

// streams and datagrams say over what the app can be reached on its port.
func (c *Config) streams() bool { return c.AppPort != 0 && !c.onlyUDP() }

func (c *Config) datagrams() bool { return c.AppPort != 0 && (c.UDP || c.onlyUDP()) }

func (c *Config) onlyUDP() bool { return strings.EqualFold(c.Protocol, "udp") }

// stateDir is where the state is kept.
func (c *Config) stateDir() (string, error) {
	if c.StateDir != "" {
		return c.StateDir, nil
	}
	data, err := dataDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(data, "sidecars", c.Namespace+"."+c.Workload), nil
}

// dataDir is Weft's data directory: the system's for root, the user's own for others.
func dataDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/lib/weft", nil
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "weft"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the data directory: %w: give --state-dir", err)
	}
	return filepath.Join(home, ".local", "share", "weft"), nil
}

func parseProtocol(name string) (typepb.Protocol, error) {
	switch strings.ToLower(name) {
	case "", "detect":
		return typepb.Protocol_PROTOCOL_UNSPECIFIED, nil
	case "http":
		return typepb.Protocol_PROTOCOL_HTTP, nil
	case "http2":
		return typepb.Protocol_PROTOCOL_HTTP2, nil
	case "grpc":
		return typepb.Protocol_PROTOCOL_GRPC, nil
	case "tcp":
		return typepb.Protocol_PROTOCOL_TCP, nil
	case "udp":
		return typepb.Protocol_PROTOCOL_UDP, nil
	default:
		return 0, fmt.Errorf("protocol: %q is none of http, http2, grpc, tcp, udp", name)
	}
}
