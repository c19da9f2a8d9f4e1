package compare

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/integration/bench/app"
	"github.com/weft-mesh/weft/integration/bench/load"
	"github.com/weft-mesh/weft/integration/bench/peers"
)

// world is how proxies are started.
type world struct {
	// Single: one proxy without TLS, instead of a pair.
	Single bool
	// Unpinned: everything may run on every core.
	Unpinned bool
}

func (w world) String() string {
	name := "pair with mTLS"
	if w.Single {
		name = "one hop, plaintext"
	}
	if w.Unpinned {
		name += ", not pinned"
	}
	return name
}

// scenario is one load that every contender gets.
type scenario struct {
	Name, Title string
	World       world
	Protocol    string
	Load        load.Spec
	// Unit is what is counted.
	Unit string
	// Inner: the inbound half alone.
	Inner bool
	// Reuse: proxies have to keep their connections to the app.
	Reuse bool
}

const (
	memoryName   = "memory"
	syscallsName = "syscalls"
)

func scenarios() []scenario {
	pair, single, unpinned := world{}, world{Single: true}, world{Unpinned: true}
	web := func(conns int, path string) load.Spec { return load.Spec{Kind: load.HTTP, Conns: conns, Path: path} }
	rate := func(n int) load.Spec { return load.Spec{Kind: load.HTTPRate, Conns: 16, Path: app.Small, Rate: n} }
	bulk, echo := load.Spec{Kind: load.TCPBulk, Conns: 4}, load.Spec{Kind: load.TCPEcho, Conns: 16}
	return []scenario{
		{Name: "h1-1k-16", Title: "HTTP/1.1 keep-alive, 1 KB, 16 connections", World: pair, Protocol: peers.HTTP, Load: web(16, app.Small), Unit: "request", Reuse: true},
		{Name: "h1-1k-64", Title: "HTTP/1.1 keep-alive, 1 KB, 64 connections", World: pair, Protocol: peers.HTTP, Load: web(64, app.Small), Unit: "request", Reuse: true},
		{Name: "h1-64k-16", Title: "HTTP/1.1, 64 KB bodies, 16 connections", World: pair, Protocol: peers.HTTP, Load: web(16, app.Large), Unit: "request", Reuse: true},
		{Name: "grpc-4x8", Title: "gRPC unary, 4 connections × 8 streams", World: pair, Protocol: peers.GRPC,
			Load: load.Spec{Kind: load.GRPC, Conns: 4, Streams: 8}, Unit: "call", Reuse: true},
		{Name: "new-conn", Title: "new client connection for each request", World: pair, Protocol: peers.HTTP,
			Load: load.Spec{Kind: load.HTTPNew, Conns: 16, Path: app.Small}, Unit: "request", Reuse: true},
		{Name: "tcp-echo", Title: "TCP ping-pong, 128 B, 16 connections", World: pair, Protocol: peers.TCP, Load: echo, Unit: "message"},
		{Name: "tcp-bulk", Title: "TCP bulk, 4 connections", World: pair, Protocol: peers.TCP, Load: bulk, Unit: "MB"},
		{Name: "handshake", Title: "full mTLS handshakes, inbound half", World: pair, Protocol: peers.HTTP,
			Load: load.Spec{Kind: load.Handshake, Conns: 4, Path: app.Small}, Unit: "handshake", Inner: true, Reuse: true},
		{Name: "rate-1000", Title: "1,000 requests/s, 16 connections", World: pair, Protocol: peers.HTTP, Load: rate(1000), Unit: "request", Reuse: true},
		{Name: "rate-3000", Title: "3,000 requests/s, 16 connections", World: pair, Protocol: peers.HTTP, Load: rate(3000), Unit: "request", Reuse: true},
		{Name: "rate-1000-unpinned", Title: "1,000 requests/s, not pinned", World: unpinned, Protocol: peers.HTTP, Load: rate(1000), Unit: "request", Reuse: true},
		{Name: "rate-3000-unpinned", Title: "3,000 requests/s, not pinned", World: unpinned, Protocol: peers.HTTP, Load: rate(3000), Unit: "request", Reuse: true},
		{Name: "plain-1k", Title: "plaintext hop, 1 KB, 16 connections", World: single, Protocol: peers.HTTP, Load: web(16, app.Small), Unit: "request", Reuse: true},
		{Name: "plain-bulk", Title: "plaintext hop, TCP bulk, 4 connections", World: single, Protocol: peers.TCP, Load: bulk, Unit: "MB"},
	}
}

// choose takes the scenarios of a comma-separated list of names, all of an empty one; memory and syscalls are names too.
func choose(only string) (chosen []scenario, memory, syscalls bool, err error) {
	all := scenarios()
	if only == "" {
		return all, true, true, nil
	}
	names := []string{memoryName, syscallsName}
	for _, s := range all {
		names = append(names, s.Name)
	}
	wanted := strings.Split(only, ",")
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return nil, false, false, fmt.Errorf("there is no scenario %q: there are %s", name, strings.Join(names, ", "))
		}
	}
	for _, s := range all {
		if slices.Contains(wanted, s.Name) {
			chosen = append(chosen, s)
		}
	}
	return chosen, slices.Contains(wanted, memoryName), slices.Contains(wanted, syscallsName), nil
}

// worlds are those that some scenarios need, in order.
func worlds(chosen []scenario) []world {
	var out []world
	for _, s := range chosen {
		if !slices.Contains(out, s.World) {
			out = append(out, s.World)
		}
	}
	return out
}
