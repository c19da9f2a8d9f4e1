package app

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Store kinds.
const (
	// StoreEmbed is an etcd inside this process, with its data in the data directory.
	StoreEmbed = "embed"
	// StoreEtcd is an etcd cluster of its own.
	StoreEtcd = "etcd"
	// StoreMem keeps everything in memory and loses it at exit; for tests.
	StoreMem = "mem"
)

// Settings is the configuration of a control-plane process. Each field's tag is its flag, its key in the YAML file and,
// in upper case with underscores behind WEFT_, its environment variable. It is shared and read only once a process runs.
type Settings struct {
	// TrustDomain is the SPIFFE trust domain, without scheme.
	TrustDomain string `koanf:"trust-domain"`
	// DataDir holds what must survive a restart.
	DataDir string `koanf:"data-dir"`
	// RunDir holds what describes the running process: ports.json.
	RunDir string `koanf:"run-dir"`
	// StaticFiles are catalogue files that discovery reads as its second source.
	StaticFiles []string `koanf:"static-file"`
	// Drain is how long a stopping process lets running calls finish.
	Drain time.Duration `koanf:"drain"`

	// Listen says where this process listens.
	Listen Listen `koanf:",squash"`
	// Addresses says where services are that are not in this process.
	Addresses Addresses `koanf:",squash"`
	// Store says where state is kept.
	Store StoreSettings `koanf:",squash"`
	// Identity holds lifetimes and the proof by which this process gets its SVIDs.
	Identity IdentitySettings `koanf:",squash"`
	// Gateway holds what people and programs may ask of the gateway, and who they may be.
	Gateway GatewaySettings `koanf:",squash"`
	// Lease holds the times of workload registrations.
	Lease LeaseSettings `koanf:",squash"`
	// Log says what is logged and how.
	Log LogSettings `koanf:",squash"`
}

// Listen says where a process listens. Port 0 lets the kernel choose; the choice is written to ports.json in the run
// directory. Health, metrics and pprof of a service are served on its gRPC port + 100, or on port 0 when that is 0.
type Listen struct {
	// Host is the address that every port listens on.
	Host string `koanf:"listen"`
	// Advertise is the host under which others reach this process; empty: Host, or this machine's first address.
	Advertise string `koanf:"advertise"`
	// Discovery is discovery's gRPC port, and so on.
	Discovery   int `koanf:"discovery-port"`
	Identity    int `koanf:"identity-port"`
	Policy      int `koanf:"policy-port"`
	Telemetry   int `koanf:"telemetry-port"`
	Distributor int `koanf:"distributor-port"`
	Gateway     int `koanf:"gateway-port"`
	// GatewayREST is the port of the gateway's REST API and console.
	GatewayREST int `koanf:"gateway-rest-port"`
	// GatewayTLS is on, off, or auto: off for connections over loopback and on for others.
	GatewayTLS string `koanf:"gateway-tls"`
}

// Addresses are host:port lists of services that run in other processes. A service of this process needs none: once it
// listens, its list is the address that it advertises, unless a list was given (a load balancer's, say).
type Addresses struct {
	Discovery   []string `koanf:"discovery-address"`
	Identity    []string `koanf:"identity-address"`
	Policy      []string `koanf:"policy-address"`
	Telemetry   []string `koanf:"telemetry-address"`
	Distributor []string `koanf:"distributor-address"`
	Gateway     []string `koanf:"gateway-address"`
}

// StoreSettings says where state is kept.
type StoreSettings struct {
	// Kind is embed, etcd or mem; empty means etcd when endpoints are given, else embed.
	Kind string `koanf:"store"`
	// Endpoints of the etcd cluster, as host:port or URLs.
	Endpoints []string `koanf:"etcd-endpoints"`
	// CAFile, CertFile and KeyFile are PEM files for TLS to etcd; all optional.
	CAFile   string `koanf:"etcd-ca-file"`
	CertFile string `koanf:"etcd-cert-file"`
	KeyFile  string `koanf:"etcd-key-file"`
	// User and PasswordFile authenticate this process to etcd; both optional.
	User         string `koanf:"etcd-user"`
	PasswordFile string `koanf:"etcd-password-file"`
}

// IdentitySettings holds lifetimes and proofs.
type IdentitySettings struct {
	// SVIDTTL is the lifetime of X.509-SVIDs; they are renewed at half of it.
	SVIDTTL time.Duration `koanf:"svid-ttl"`
	// JoinTokenTTL is how long a join token may be redeemed when its maker says nothing.
	JoinTokenTTL time.Duration `koanf:"join-token-ttl"`
	// JoinTokenFile holds the join tokens by which the services of this process get their first SVIDs from an identity
	// service elsewhere, each for the account weft-system/<service>: a line "<service> <token>" for each of them, or just
	// the token when there is one service.
	JoinTokenFile string `koanf:"join-token-file"`
}

// GatewaySettings are about the callers of the gateway.
type GatewaySettings struct {
	// Rate is how many calls a second each caller may make in the long run, and Burst how many at once. Each replica counts for
	// itself.
	Rate  float64 `koanf:"gateway-rate"`
	Burst int     `koanf:"gateway-burst"`
	// MaxConcurrent is how many calls may run at once, of all callers together, and MaxBody how many bytes a request may have.
	MaxConcurrent int `koanf:"gateway-max-concurrent"`
	MaxBody       int `koanf:"gateway-max-body"`
	// AuditMaxEvents and AuditMaxAge bound the audit log.
	AuditMaxEvents int           `koanf:"audit-max-events"`
	AuditMaxAge    time.Duration `koanf:"audit-max-age"`
	// IdempotencyWindow is how long the answer to an idempotency key is kept.
	IdempotencyWindow time.Duration `koanf:"idempotency-window"`
	// OIDCIssuer is the URL of the issuer whose tokens are taken beside those of this mesh; empty: none. OIDCAudience is whom
	// they must be for.
	OIDCIssuer   string `koanf:"oidc-issuer"`
	OIDCAudience string `koanf:"oidc-audience"`
	// OIDCSubjectClaim and OIDCGroupsClaim name the claims that role bindings are matched with.
	OIDCSubjectClaim string `koanf:"oidc-subject-claim"`
	OIDCGroupsClaim  string `koanf:"oidc-groups-claim"`
	// OIDCCAFile holds the authorities of the issuer's certificate as PEM; empty: the system's.
	OIDCCAFile string `koanf:"oidc-ca-file"`
}

// LeaseSettings holds the times of workload registrations.
type LeaseSettings struct {
	// TTL is how long a registration lives without a heartbeat.
	TTL time.Duration `koanf:"lease-ttl"`
	// Heartbeat is how often sidecars renew it.
	Heartbeat time.Duration `koanf:"heartbeat"`
}

// LogSettings says what is logged and how.
type LogSettings struct {
	// Level is debug, info, warn or error.
	Level string `koanf:"log-level"`
	// Format is json, console, or auto: console on a terminal, else json.
	Format string `koanf:"log-format"`
}

// Default returns the settings that hold when nothing is configured.
func Default() *Settings {
	data, run := directories()
	return &Settings{
		TrustDomain: "weft.local",
		DataDir:     data,
		RunDir:      run,
		Drain:       30 * time.Second,
		Listen: Listen{
			Host: "127.0.0.1", Discovery: 9711, Identity: 9712, Policy: 9713, Telemetry: 9714, Distributor: 9715,
			Gateway: 9701, GatewayREST: 9700, GatewayTLS: "auto",
		},
		Identity: IdentitySettings{SVIDTTL: 48 * time.Hour, JoinTokenTTL: 10 * time.Minute},
		Gateway: GatewaySettings{
			Rate: 200, Burst: 1000, MaxConcurrent: 1024, MaxBody: 16 << 20,
			AuditMaxEvents: 10_000, AuditMaxAge: 90 * 24 * time.Hour, IdempotencyWindow: time.Hour,
			OIDCSubjectClaim: "sub", OIDCGroupsClaim: "groups",
		},
		Lease: LeaseSettings{TTL: 10 * time.Second, Heartbeat: 3 * time.Second},
		Log:   LogSettings{Level: "info", Format: "auto"},
	}
}

// directories are the system's for root and the user's own for everybody else.
func directories() (data, run string) {
	if os.Geteuid() == 0 {
		return "/var/lib/weft", "/run/weft"
	}
	data = os.Getenv("XDG_DATA_HOME")
	if data == "" {
		data = filepath.Join(os.Getenv("HOME"), ".local", "share")
	}
	run = os.Getenv("XDG_RUNTIME_DIR")
	if run == "" {
		return filepath.Join(data, "weft"), filepath.Join(os.TempDir(), "weft-"+strconv.Itoa(os.Geteuid()))
	}
	return filepath.Join(data, "weft"), filepath.Join(run, "weft")
}

// Port returns a pointer to the gRPC port of a service, or nil for a name that is no service.
func (l *Listen) Port(service string) *int {
	switch service {
	case Discovery:
		return &l.Discovery
	case Identity:
		return &l.Identity
	case Policy:
		return &l.Policy
	case Telemetry:
		return &l.Telemetry
	case Distributor:
		return &l.Distributor
	case Gateway:
		return &l.Gateway
	}
	return nil
}

// list returns a pointer to the addresses of a service, or nil for a name that is no service.
func (a *Addresses) list(service string) *[]string {
	switch service {
	case Discovery:
		return &a.Discovery
	case Identity:
		return &a.Identity
	case Policy:
		return &a.Policy
	case Telemetry:
		return &a.Telemetry
	case Distributor:
		return &a.Distributor
	case Gateway:
		return &a.Gateway
	}
	return nil
}

// AddressesOf returns where a service is reached: as configured or, in a running process, as advertised; by default on
// its usual port of this machine.
func (s *Settings) AddressesOf(service string) []string {
	if list := s.Addresses.list(service); list != nil && len(*list) > 0 {
		return *list
	}
	defaults := Default().Listen
	port := defaults.Port(service)
	if port == nil {
		return nil
	}
	return []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(*port))}
}

// StoreKind is the kind of store that the settings ask for.
func (s *Settings) StoreKind() string {
	switch {
	case s.Store.Kind != "":
		return s.Store.Kind
	case len(s.Store.Endpoints) > 0:
		return StoreEtcd
	default:
		return StoreEmbed
	}
}

// clone copies the settings, so that a process can fill in what it chose itself.
func (s *Settings) clone() *Settings {
	c := *s
	return &c
}
