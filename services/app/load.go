package app

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Flags that steer the loading and are no settings.
const (
	flagConfig = "config"
	flagCheck  = "check-config"
)

// configDir is where a service's YAML file is looked for.
const configDir = "/etc/weft"

// Flags adds every setting to a flag set, with its default.
func Flags(fs *pflag.FlagSet) {
	d := Default()
	fs.String(flagConfig, "", "YAML file with settings (default "+configDir+"/<service>.yaml when it exists)")
	fs.Bool(flagCheck, false, "check the configuration and exit")

	fs.String("trust-domain", d.TrustDomain, "SPIFFE trust domain")
	fs.String("data-dir", d.DataDir, "directory of what must survive a restart")
	fs.String("run-dir", d.RunDir, "directory of ports.json")
	fs.StringSlice("static-file", nil, "catalogue file for discovery (repeatable)")
	fs.Duration("drain", d.Drain, "how long running calls may take when the process stops")

	fs.String("listen", d.Listen.Host, "IP address to listen on; 0.0.0.0 or :: listens on all of them")
	fs.String("advertise", "", "IP address or name under which others reach this process (default: the one it listens on, or this machine's first)")
	for _, service := range Names() {
		fs.Int(service+"-port", *d.Listen.Port(service), "gRPC port of "+service+"; 0: any")
		fs.StringSlice(service+"-address", nil, "host:port of "+service+" when it runs elsewhere (repeatable)")
	}
	fs.Int("gateway-rest-port", d.Listen.GatewayREST, "REST and console port of gateway; 0: any")
	fs.String("gateway-tls", d.Listen.GatewayTLS, "TLS with its SVID on the gateway's ports: on, off, or auto (off for connections over loopback, on for others)")

	gatewayFlags(fs, d.Gateway)

	fs.String("store", "", "embed, etcd or mem (default: etcd with --etcd-endpoints, else embed)")
	fs.StringSlice("etcd-endpoints", nil, "etcd cluster to keep state in (repeatable)")
	fs.String("etcd-ca-file", "", "PEM file with etcd's CA")
	fs.String("etcd-cert-file", "", "PEM file with the client certificate for etcd")
	fs.String("etcd-key-file", "", "PEM file with the client key for etcd")
	fs.String("etcd-user", "", "etcd user")
	fs.String("etcd-password-file", "", "file with the etcd user's password")

	fs.Duration("svid-ttl", d.Identity.SVIDTTL, "lifetime of X.509-SVIDs")
	fs.Duration("join-token-ttl", d.Identity.JoinTokenTTL, "default time in which a join token may be redeemed")
	fs.String("join-token-file", "", "file with this process's own join token, or a line \"SERVICE TOKEN\" for each of its services")
	fs.Duration("lease-ttl", d.Lease.TTL, "how long a workload's registration lives without a heartbeat")
	fs.Duration("heartbeat", d.Lease.Heartbeat, "how often sidecars renew their registration")
	fs.String("log-level", d.Log.Level, "debug, info, warn or error")
	fs.String("log-format", d.Log.Format, "json, console or auto")
}

// gatewayFlags adds what concerns the callers of the gateway.
func gatewayFlags(fs *pflag.FlagSet, d GatewaySettings) {
	fs.Float64("gateway-rate", d.Rate, "calls a second that each caller of the gateway may make in the long run")
	fs.Int("gateway-burst", d.Burst, "calls that each caller may make at once")
	fs.Int("gateway-max-concurrent", d.MaxConcurrent, "calls that may run at once at one gateway, of all callers together")
	fs.Int("gateway-max-body", d.MaxBody, "bytes that a request to the gateway may have")
	fs.Int("audit-max-events", d.AuditMaxEvents, "events that the audit log keeps")
	fs.Duration("audit-max-age", d.AuditMaxAge, "how long the audit log keeps them")
	fs.Duration("idempotency-window", d.IdempotencyWindow, "how long the answer to an idempotency key is kept")
	fs.String("oidc-issuer", d.OIDCIssuer, "URL of an OIDC issuer whose tokens the gateway takes too")
	fs.String("oidc-audience", d.OIDCAudience, "audience that its tokens must be for")
	fs.String("oidc-subject-claim", d.OIDCSubjectClaim, "claim that role bindings call oidcSubject")
	fs.String("oidc-groups-claim", d.OIDCGroupsClaim, "claim that role bindings call oidcGroup")
	fs.String("oidc-ca-file", d.OIDCCAFile, "PEM file with the authorities of the issuer's certificate")
}

// Names lists the services in the order in which a process builds them.
func Names() []string {
	return []string{Discovery, Identity, Policy, Telemetry, Distributor, Gateway}
}

// Load reads the settings: a parsed flag wins over the environment, that over the YAML file, that over the default. The
// result is not validated yet.
func Load(fs *pflag.FlagSet, process string) (*Settings, error) {
	keys := settingKeys(fs)
	k := koanf.New("\x00") // keys are flat: a delimiter that no key can hold
	if err := loadFile(k, fs, process, keys); err != nil {
		return nil, err
	}
	if err := k.Load(env.Provider("", env.Opt{Prefix: "WEFT_", TransformFunc: func(name, value string) (string, any) {
		key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "WEFT_")), "_", "-")
		if !slices.Contains(keys, key) {
			return "", nil
		}
		if fs.Lookup(key).Value.Type() == "stringSlice" {
			return key, strings.Split(value, ",")
		}
		return key, value
	}}), nil); err != nil {
		return nil, fmt.Errorf("read settings from the environment: %w", err)
	}
	if err := k.Load(posflag.ProviderWithFlag(fs, k.Delim(), k, func(f *pflag.Flag) (string, any) {
		if !f.Changed || !slices.Contains(keys, f.Name) {
			return "", nil
		}
		return f.Name, posflag.FlagVal(fs, f)
	}), nil); err != nil {
		return nil, fmt.Errorf("read settings from flags: %w", err)
	}
	s := Default()
	err := k.Unmarshal("", s)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	for _, dir := range []*string{&s.DataDir, &s.RunDir} {
		if *dir == "" {
			continue // Validate says so
		}
		if *dir, err = filepath.Abs(*dir); err != nil {
			return nil, fmt.Errorf("read settings: %w", err)
		}
	}
	return s, nil
}

func loadFile(k *koanf.Koanf, flags *pflag.FlagSet, process string, keys []string) error {
	path, _ := flags.GetString(flagConfig)
	if path == "" {
		path = filepath.Join(configDir, process+".yaml")
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
		return fmt.Errorf("read settings from %q: %w", path, err)
	}
	for _, key := range k.Keys() {
		if !slices.Contains(keys, strings.Split(key, "\x00")[0]) {
			return fmt.Errorf("read settings from %q: unknown key %q; known are %q", path, key, keys)
		}
	}
	return nil
}

// settingKeys are the names of the flags that Flags added, without those that steer the loading. Flags of the caller's
// own in the same set are no settings.
func settingKeys(flags *pflag.FlagSet) []string {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	Flags(own)
	var keys []string
	own.VisitAll(func(f *pflag.Flag) {
		if f.Name != flagConfig && f.Name != flagCheck && flags.Lookup(f.Name) != nil {
			keys = append(keys, f.Name)
		}
	})
	return keys
}
