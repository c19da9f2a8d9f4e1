package sim

import (
	"sync"
	"sync/atomic"
	"time"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
)

// Namespace of every simulated workload.
const Namespace = "sim"

// Sidecar is what one sidecar is and wants.
type Sidecar struct {
	// Name of the workload.
	Name string `json:"name"`
	// Account of the workload, and the service that it is an endpoint of.
	Account string `json:"account"`
	// Address that it is said to be at; nobody connects to it.
	Address string `json:"address"`
	// Wants are the services that it subscribes to, "namespace/name".
	Wants []string `json:"wants"`
}

// Behaviour is how a sidecar treats its config stream.
type Behaviour string

// Behaviours.
const (
	// Well applies and acknowledges at once.
	Well Behaviour = "well"
	// Slow waits for slowness before it acknowledges.
	Slow Behaviour = "slow"
	// Mute reads and never acknowledges.
	Mute Behaviour = "mute"
	// Deaf does not even read.
	Deaf Behaviour = "deaf"
)

// slowness of the slow.
const slowness = 3 * time.Second

// sidecar is one of them at work.
type sidecar struct {
	Sidecar
	fleet  *Fleet
	source *spiffe.Source

	behaviour atomic.Value  // Behaviour
	behaved   chan struct{} // something about the behaviour changed

	mu       sync.Mutex
	held     held  // the goroutine of the stream writes, with mu held
	synced   int64 // when the current stream had everything, Unix nanoseconds; 0: it has not
	lost     int64 // when the last stream ended
	replica  string
	acks     []ack
	drop     func() // ends the current stream
	register discoverypb.DiscoveryService_RegisterClient
	answers  chan answer // of the current registration
}

// ack is one update that was acknowledged.
type ack struct {
	at                int64 // Unix nanoseconds
	policy, discovery uint64
	resources, shards int
}

func (s *sidecar) behaves() Behaviour {
	b, _ := s.behaviour.Load().(Behaviour)
	return b
}

func (s *sidecar) behave(b Behaviour) {
	s.behaviour.Store(b)
	select {
	case s.behaved <- struct{}{}:
	default:
	}
}
