package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/proxy"
	"github.com/weft-mesh/weft/proxy/internal/limit"
)

// envPrefix begins the environment's name of every flag: --mesh-port is WEFT_MESH_PORT.
const envPrefix = "WEFT_"

// options is the command line, read.
type options struct {
	config   proxy.Config
	logLevel string
	check    bool
	version  bool

	flags     *pflag.FlagSet
	labels    []string
	upstreams []string
	tokenFile string
	accessLog bool

	namespaceFD, supervisorFD uint
}

type lookup func(key string) (string, bool)

// parse reads flags, then the environment for what no flag was given.
func parse(args []string, env lookup, stdout io.Writer) (*options, error) {
	o := &options{config: proxy.Default()}
	o.define()
	if err := o.flags.Parse(args); err != nil {
		return o, err
	}
	if extra := o.flags.Args(); len(extra) > 0 {
		return o, fmt.Errorf("unexpected argument %q", extra[0])
	}
	if err := o.environment(env); err != nil {
		return o, err
	}
	o.config.Capture.NamespaceFD = uintptr(o.namespaceFD)
	if o.accessLog {
		o.config.AccessLog = stdout
	}
	return o, errors.Join(o.readLabels(), o.readUpstreams(), o.readToken(env))
}

func (o *options) define() {
	c := &o.config
	f := pflag.NewFlagSet("weft-proxy", pflag.ContinueOnError)
	f.Usage = func() {}
	f.SortFlags = false
	f.StringVar(&c.Namespace, "namespace", c.Namespace, "namespace of the workload")
	f.StringVar(&c.Workload, "workload", "", "name of the workload, unique in its namespace")
	f.StringArrayVar(&c.Services, "service", nil, "service that the workload is an endpoint of; may be repeated")
	f.StringArrayVar(&o.labels, "label", nil, "label k=v that routes can select on; may be repeated")
	f.Uint16Var(&c.AppPort, "app-port", 0, "port that the app listens on, on loopback")
	f.StringVar(&c.Protocol, "protocol", "", "how the app's port speaks: http, http2, grpc, tcp or udp (default: told from the first bytes)")
	f.BoolVar(&c.UDP, "udp", false, "the app takes datagrams on its port, besides what --protocol says")
	f.StringArrayVar(&o.upstreams, "upstream", nil, "service to reach through a loopback address, NAME[:PORT[/udp]][=LOCALPORT]; may be repeated")
	f.StringVar(&c.StateDir, "state-dir", "", "directory of the sidecar's state (default <data-dir>/sidecars/<namespace>.<workload>)")
	f.StringVar(&o.tokenFile, "join-token-file", "", "file with the one-time join token (or the token itself in WEFT_JOIN_TOKEN)")
	f.StringSliceVar(&c.Addresses.Identity, "identity", nil, "addresses of the identity service (default: those of the token)")
	f.StringSliceVar(&c.Addresses.Discovery, "discovery", nil, "addresses of the discovery service")
	f.StringSliceVar(&c.Addresses.Distributor, "distributor", nil, "addresses of the distributor")
	f.StringSliceVar(&c.Addresses.Telemetry, "telemetry", nil, "addresses of the telemetry service")
	f.StringVar(&c.Advertise, "advertise", c.Advertise, "IP address at which other sidecars reach this one")
	f.StringVar(&c.MTLS, "mtls", "", "strict: take and send nothing but mTLS, even where the mesh's mode is looser")
	f.Uint16Var(&c.MeshPort, "mesh-port", 0, "port for mTLS from other sidecars (default: that of the last run, else a free one)")
	f.Uint16Var(&c.InboundPort, "inbound-port", 0, "port for plaintext to the app")
	f.Uint16Var(&c.AdminPort, "admin-port", 0, "port for health, metrics and diagnosis, on loopback")
	f.BoolVar(&c.Capture.Transparent, "transparent", false, "serve what the kernel redirects, as \"weft-proxy capture\" programs it")
	f.UintVar(&o.namespaceFD, "namespace-fd", 0, "file descriptor of the app's own network namespace, inherited at the start (default: the app shares the sidecar's)")
	f.Uint16Var(&c.Capture.OutboundPort, "capture-outbound-port", c.Capture.OutboundPort, "port that what the app sends is redirected to")
	f.Uint16Var(&c.Capture.InboundPort, "capture-inbound-port", c.Capture.InboundPort, "port that plaintext for the app is redirected to")
	f.BoolVar(&c.Capture.Unpublished, "unpublished", false, "with --namespace-fd: do not open the app's port on the host, not even if it is free")
	f.StringVar(&c.Capture.HostsFile, "hosts-file", "", "file to keep the names of all services in, in place, for the app's /etc/hosts")
	f.StringVar(&c.Capture.HostsBase, "hosts-base", c.Capture.HostsBase, "file whose lines stand first in it")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.BoolVar(&o.accessLog, "access-log", false, "write a line for each request to standard output")
	f.IntVar(&c.AccessLogSample, "access-log-sample", c.AccessLogSample, "write only every n-th line")
	f.DurationVar(&c.Drain, "drain", c.Drain, "how long requests in flight may take after the end was asked for")
	f.DurationVar(&c.Linger, "linger", c.Linger, "how long new requests are still served after deregistration")
	f.DurationVar(&c.MaxConfigAge, "max-config-age", c.MaxConfigAge, "how old the stored configuration may be that a restart serves from")
	f.BoolVar(&c.TakeOver, "take-over", false, "take the place of the sidecar that runs with the same flags, with its sockets and without losing a connection")
	f.DurationVar(&c.Upgrade.Timeout, "upgrade-timeout", c.Upgrade.Timeout, "how long a new process may take until it serves; SIGUSR2 starts one")
	f.DurationVar(&c.Upgrade.Drain, "upgrade-drain", c.Upgrade.Drain, "how long connections of the old process may live on after an upgrade")
	f.UintVar(&o.supervisorFD, "supervisor-fd", 0, "file descriptor of a socket to the supervisor, inherited at the start, which starts the new process of an upgrade")
	c.Limits.Each(
		func(n limit.Name, value *int) { f.IntVar(value, n.Setting(), *value, n.Help()) },
		func(n limit.Name, value *time.Duration) { f.DurationVar(value, n.Setting(), *value, n.Help()) },
	)
	f.BoolVar(&o.check, "check-config", false, "check the flags and exit")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	o.flags = f
}

func (o *options) help() string {
	return "weft-proxy is Weft's sidecar.\n\nUsage: weft-proxy --workload NAME [flags]\n" +
		"       weft-proxy --take-over --workload NAME [flags]   in the place of the one that runs\n" +
		"       weft-proxy capture [flags]   program the kernel to redirect this network namespace's traffic to the sidecar\n\n" +
		"Every flag can be given in the environment too: --mesh-port is WEFT_MESH_PORT.\n\n" + o.flags.FlagUsages()
}

// environment sets every flag that was not given and that the environment has.
func (o *options) environment(env lookup) error {
	var errs []error
	o.flags.VisitAll(func(f *pflag.Flag) {
		key := envPrefix + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := env(key)
		if !ok || f.Changed || value == "" {
			return
		}
		values := []string{value}
		if f.Value.Type() == "stringArray" {
			values = strings.Split(value, ",")
		}
		for _, v := range values {
			if err := o.flags.Set(f.Name, v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", key, err))
			}
		}
	})
	return errors.Join(errs...)
}

func (o *options) readLabels() error {
	o.config.Labels = make(map[string]string, len(o.labels))
	for _, text := range o.labels {
		k, v, ok := strings.Cut(text, "=")
		if !ok || k == "" {
			return fmt.Errorf("--label %q is not of the form k=v", text)
		}
		o.config.Labels[k] = v
	}
	return nil
}

func (o *options) readUpstreams() error {
	var errs []error
	for _, text := range o.upstreams {
		u, err := proxy.ParseUpstream(text, o.config.Namespace)
		errs = append(errs, err)
		o.config.Upstreams = append(o.config.Upstreams, u)
	}
	return errors.Join(errs...)
}

// readToken takes the token from the file or the environment; a flag would show it to everybody on the machine.
func (o *options) readToken(env lookup) error {
	if o.tokenFile == "" {
		o.config.JoinToken, _ = env("WEFT_JOIN_TOKEN")
		return nil
	}
	raw, err := os.ReadFile(o.tokenFile)
	if err != nil {
		return fmt.Errorf("--join-token-file: %w", err)
	}
	o.config.JoinToken = strings.TrimSpace(string(raw))
	return nil
}
