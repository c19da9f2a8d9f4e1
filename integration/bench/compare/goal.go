package compare

import "github.com/weft-mesh/weft/integration/bench/peers"

// What a goal is about.
const (
	cpu     = "CPU"
	p50     = "p50"
	perCore = "per core" // how many a CPU second gives: more is better
)

// best stands for whichever of the three real peers is best.
const best = "best"

// goal is a bound for the ratio of Weft to a peer.
type goal struct {
	Scenario string  `json:"scenario"`
	What     string  `json:"what"`
	Peer     string  `json:"peer"`
	Must     float64 `json:"must"`
	Aim      float64 `json:"aim"`
}

// higher says that the ratio has to be above the bound.
func (g goal) higher() bool { return g.What == perCore }

func goals() []goal {
	out := []goal{}
	for _, s := range []string{"h1-1k-16", "h1-1k-64"} {
		out = append(out, goal{s, cpu, peers.Nginx, .95, .70}, goal{s, cpu, peers.HAProxy, .95, .70}, goal{s, cpu, peers.Envoy, .60, .45})
	}
	out = append(out,
		goal{"h1-64k-16", cpu, peers.Nginx, 1.0, .85}, goal{"h1-64k-16", cpu, peers.HAProxy, .90, .75},
		goal{"grpc-4x8", cpu, peers.HAProxy, 1.2, .90}, goal{"grpc-4x8", cpu, peers.Envoy, .70, .50},
		goal{"new-conn", cpu, best, 1.0, .90},
		goal{"tcp-echo", cpu, best, 1.0, .85}, goal{"tcp-bulk", cpu, best, 1.05, .90},
		goal{"plain-1k", cpu, peers.Nginx, .85, .70}, goal{"plain-bulk", cpu, peers.Nginx, .60, .45},
		goal{"handshake", perCore, best, .8, 1.0},
	)
	for _, s := range []string{"rate-1000", "rate-3000"} {
		out = append(out, goal{s, cpu, peers.Nginx, 1.1, .95}, goal{s, p50, peers.Nginx, 1.0, .85},
			goal{s + "-unpinned", cpu, peers.Nginx, 1.1, .80}, goal{s + "-unpinned", p50, peers.Nginx, 1.0, .85})
	}
	return out
}

// bound is a goal for a number itself, which has to be at most so much.
type bound struct {
	Name string  `json:"name"`
	Unit string  `json:"unit"`
	Must float64 `json:"must"`
	Aim  float64 `json:"aim"`
}

// Names of what has a bound.
const (
	idleMemory  = "RssAnon of one sidecar, idle"
	loadMemory  = "RssAnon of one sidecar under load, 64 connections"
	connMemory  = "RssAnon of an idle connection, 1,000 of them"
	crowdMemory = "RssAnon, 1,000 services in the index and 100 subscribed"
	hopCalls    = "system calls for an HTTP/1.1 request and hop"
	sleepCalls  = "nanosleep and futex for a request and hop at 1,000/s"
)

func bounds() []bound {
	return []bound{
		{idleMemory, "MB", 10, 6}, {loadMemory, "MB", 16, 12}, {connMemory, "KB", 8, 5}, {crowdMemory, "MB", 20, 12},
		{hopCalls, "", 5, 4.2}, {sleepCalls, "", .1, .005},
	}
}
