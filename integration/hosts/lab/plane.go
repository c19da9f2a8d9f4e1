package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/integration/harness"
)

// Usual ports of the services. A host has a network of its own, so nobody else has taken them.
const (
	gatewayPort     = 9701
	discoveryPort   = 9711
	identityPort    = 9712
	policyPort      = 9713
	telemetryPort   = 9714
	distributorPort = 9715
	healthOffset    = 100
)

func portOf(service string) int {
	return map[string]int{
		"gateway": gatewayPort, "discovery": discoveryPort, "identity": identityPort, "policy": policyPort,
		"telemetry": telemetryPort, "distributor": distributorPort,
	}[service]
}

func services() []string {
	return []string{"identity", "discovery", "policy", "telemetry", "distributor", "gateway"}
}

// everywhere is what a service listens on so that commands on the same host reach it by loopback.
func (h *Host) everywhere() string {
	if h.net.opts.IPv6 {
		return "::"
	}
	return "0.0.0.0"
}

// Up runs `weft up` on the host, reachable from the others, and returns when all of it is ready.
func (h *Host) Up(ctx context.Context, flags ...string) (*harness.Process, error) {
	p, err := h.Start("up", append([]string{"weft", "up", "--listen", h.everywhere(), "--advertise", h.IP(), "--log-format", "json"}, flags...)...)
	if err != nil {
		return nil, err
	}
	return p, h.waitReady(ctx, p, services()...)
}

// waitReady waits for the health ports of services on the host.
func (h *Host) waitReady(ctx context.Context, p *harness.Process, names ...string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := harness.Eventually(ctx, func() error {
		if p.Ended() {
			return harness.Fatal{Err: fmt.Errorf("%s on host %s has ended", p.Name, h.Name)}
		}
		for _, s := range names {
			if _, err := h.Curl(ctx, "http://"+net.JoinHostPort("localhost", strconv.Itoa(portOf(s)+healthOffset))+"/readyz"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, h.Logs())
	}
	return nil
}

// place is the number of the host that a service runs on when they are spread. The administrator's token is written by
// identity, so the gateway is beside it.
func place(service string) int {
	switch service {
	case "identity", "gateway":
		return 0
	case "discovery", "telemetry":
		return 1
	default:
		return 2
	}
}

// Spread runs an etcd cluster with a member on each of three hosts, and one process for each service, spread over them. It
// returns the host that has the administrator's token, where the gateway is too.
func Spread(ctx context.Context, hosts [3]*Host, flags ...string) (*Host, error) {
	if err := etcdCluster(ctx, hosts); err != nil {
		return nil, err
	}
	at := map[string]*Host{}
	args := []string{"--log-format", "json"}
	for _, s := range services() {
		at[s] = hosts[place(s)]
		args = append(args, "--"+s+"-address", net.JoinHostPort(at[s].IP(), strconv.Itoa(portOf(s))))
	}
	for _, h := range hosts {
		args = append(args, "--etcd-endpoints", "http://"+net.JoinHostPort(h.IP(), "2379"))
	}
	args = append(args, flags...)
	running := map[string]*harness.Process{}
	for _, s := range services() {
		own := append([]string{"weft-" + s, "--listen", at[s].everywhere(), "--advertise", at[s].IP()}, args...)
		if s != "identity" {
			token, err := serviceToken(ctx, at["identity"], at[s], s)
			if err != nil {
				return nil, err
			}
			own = append(own, "--join-token-file", token)
		}
		p, err := at[s].Start(s, own...)
		if err != nil {
			return nil, err
		}
		running[s] = p
		if s == "identity" { // the others take their first identities from it
			if err := at[s].waitReady(ctx, p, s); err != nil {
				return nil, err
			}
		}
	}
	for _, s := range services() {
		if err := at[s].waitReady(ctx, running[s], s); err != nil {
			return nil, err
		}
	}
	return at["identity"], nil
}

// serviceToken mints, on the host of identity, what a service elsewhere gets its first identity by.
func serviceToken(ctx context.Context, identity, h *Host, service string) (string, error) {
	out, code, err := identity.Weft(ctx, "token", "join", "-n", "weft-system", "--account", service,
		"--identity", net.JoinHostPort(identity.IP(), strconv.Itoa(identityPort)))
	if err != nil || code != 0 {
		return "", fmt.Errorf("join token for %s: exit code %d: %w: %s", service, code, err, out)
	}
	file := filepath.Join(h.Dir, service+".token")
	return file, os.WriteFile(file, []byte(out), 0o600)
}

func etcdCluster(ctx context.Context, hosts [3]*Host) error {
	var members []string
	for _, h := range hosts {
		members = append(members, h.Name+"=http://"+net.JoinHostPort(h.IP(), "2380"))
	}
	for _, h := range hosts {
		client, peer := "http://"+net.JoinHostPort(h.IP(), "2379"), "http://"+net.JoinHostPort(h.IP(), "2380")
		if _, err := h.Start("etcd", "etcd", "--name", h.Name, "--data-dir", filepath.Join(h.Dir, "etcd"), "--log-level", "error",
			"--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
			"--initial-advertise-peer-urls", peer, "--initial-cluster", strings.Join(members, ",")); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return harness.Eventually(ctx, func() error {
		for _, h := range hosts {
			if _, err := h.Curl(ctx, "http://"+net.JoinHostPort(h.IP(), "2379")+"/health"); err != nil {
				return err
			}
		}
		return nil
	})
}
