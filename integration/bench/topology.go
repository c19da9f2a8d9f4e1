package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/weft-mesh/weft/integration/bench/sim"
)

const (
	// maxServices is how many services there are at most; each sidecar belongs to one.
	maxServices = 1000
	// wanted is how many services each sidecar subscribes to: the one that everybody calls, and others.
	wanted = 10
)

// topology is who there is and who calls whom: the same for the same number of sidecars.
type topology struct {
	services []string
	sidecars []sim.Sidecar
	// callers is the number of sidecars that subscribe to each service, members those that are endpoints of it.
	callers map[string]int
	members map[string][]string
}

func newTopology(n int) topology {
	t := topology{callers: map[string]int{}, members: map[string][]string{}}
	for i := range min(n, maxServices) {
		t.services = append(t.services, fmt.Sprintf("s%04d", i))
	}
	random := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range n {
		service := t.services[i%len(t.services)]
		s := sim.Sidecar{
			Name: fmt.Sprintf("%s-%d", service, i/len(t.services)), Account: service,
			Address: fmt.Sprintf("10.%d.%d.%d", 1+i>>16, i>>8&255, i&255),
		}
		for _, name := range t.choose(random) {
			s.Wants = append(s.Wants, sim.Namespace+"/"+name)
			t.callers[name]++
		}
		t.members[service] = append(t.members[service], s.Name)
		t.sidecars = append(t.sidecars, s)
	}
	return t
}

// common is the service that everybody calls.
func (t *topology) common() string { return t.services[0] }

func (t *topology) choose(random *rand.Rand) []string {
	out := []string{t.common()}
	for _, i := range random.Perm(len(t.services) - 1)[:min(wanted, len(t.services))-1] {
		out = append(out, t.services[i+1])
	}
	return out
}
