package intake_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/distributor/intake"
	"github.com/weft-mesh/weft/services/distributor/intake/intaketest"
	"github.com/weft-mesh/weft/services/internal/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	policy    = typepb.Source_SOURCE_POLICY
	discovery = typepb.Source_SOURCE_DISCOVERY
	identity  = typepb.Source_SOURCE_IDENTITY
)

// counts implements intake.Observer; only read while everything waits.
type counts struct {
	connected map[string]bool
	resets    map[string]int
	rejected  map[string]int
	lock      chan struct{}
}

func (c *counts) change(f func()) {
	c.lock <- struct{}{}
	f()
	<-c.lock
}
func (c *counts) SourceConnected(s string, yes bool) { c.change(func() { c.connected[s] = yes }) }
func (c *counts) SourceReset(s string)               { c.change(func() { c.resets[s]++ }) }
func (c *counts) ObjectRejected(kind string)         { c.change(func() { c.rejected[kind]++ }) }

// rig is an intake in a bubble with a clock of its own.
type rig struct {
	takes   time.Duration // how long each Publish takes
	begins  []time.Time   // when each began
	t       *testing.T
	intake  *intake.Intake
	sources *intaketest.Sources
	counts  *counts
	worlds  []*compile.World
}

// run starts an intake in a bubble and stops it when f returns.
func run(t *testing.T, f func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, sources: intaketest.New(), counts: &counts{
			connected: map[string]bool{}, resets: map[string]int{}, rejected: map[string]int{}, lock: make(chan struct{}, 1),
		}}
		r.intake = intake.New(intake.Default(), intake.Deps{
			Policy: r.sources.PolicyClient(), Discovery: r.sources.DiscoveryClient(), Identity: r.sources.IdentityClient(),
			Publish: func(w *compile.World) {
				r.worlds, r.begins = append(r.worlds, w), append(r.begins, time.Now())
				time.Sleep(r.takes)
			},
			Observer: r.counts, Log: zap.NewNop(),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.intake.Run(ctx) }()
		f(r)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// settled waits until nothing happens any more and returns the newest world.
func (r *rig) settled() *compile.World {
	r.t.Helper()
	synctest.Wait()
	<-time.After(time.Second)
	synctest.Wait()
	if len(r.worlds) == 0 {
		return nil
	}
	return r.worlds[len(r.worlds)-1]
}

func route(name, service string) *policypb.Change {
	return &policypb.Change{Object: &policypb.Change_Route{Route: &policypb.Route{
		Metadata: &typepb.ObjectMeta{Namespace: "x", Name: name},
		Spec:     &policypb.RouteSpec{Service: service, Rules: []*policypb.RouteRule{{Backends: []*policypb.Backend{{Service: service}}}}},
	}}}
}

func access(name string, match *policypb.HttpMatch) *policypb.Change {
	return &policypb.Change{Object: &policypb.Change_AccessPolicy{AccessPolicy: &policypb.AccessPolicy{
		Metadata: &typepb.ObjectMeta{Namespace: "x", Name: name},
		Spec: &policypb.AccessPolicySpec{
			Destination: &policypb.AccessDestination{Account: name},
			Allow:       []*policypb.AccessRule{{From: []*policypb.AccessSource{{Account: "a"}}, To: []*policypb.HttpMatch{match}}},
		},
	}}}
}

func gone(kind, name string) *policypb.Change {
	return &policypb.Change{Object: &policypb.Change_Removed{Removed: &typepb.ObjectRef{Kind: kind, Namespace: "x", Name: name}}}
}

func policyStep(reset bool, seq uint64, changes ...*policypb.Change) *policypb.WatchResponse {
	return &policypb.WatchResponse{Reset_: reset, Changes: changes, Complete: true, Revision: intaketest.At(policy, seq)}
}

func catalogue(seq uint64, services ...string) *discoverypb.WatchResponse {
	m := &discoverypb.WatchResponse{Reset_: true, Complete: true, Revision: intaketest.At(discovery, seq)}
	for _, name := range services {
		m.Changes = append(m.Changes, &discoverypb.Change{Object: &discoverypb.Change_Service{Service: &discoverypb.Service{
			Metadata: &typepb.ObjectMeta{Namespace: "x", Name: name}, Spec: &discoverypb.ServiceSpec{},
		}}})
	}
	return m
}

func bundle(seq uint64, root string) *identitypb.WatchBundlesResponse {
	return &identitypb.WatchBundlesResponse{Bundle: &identitypb.Bundle{
		TrustDomain: "weft.local", X509Authorities: [][]byte{[]byte(root)}, Revision: intaketest.At(identity, seq),
	}}
}

// begin gives every source a first complete state and returns the open watches.
func (r *rig) begin() (*intaketest.Watch[policypb.WatchResponse], *intaketest.Watch[discoverypb.WatchResponse], *intaketest.Watch[identitypb.WatchBundlesResponse]) {
	p, d, i := <-r.sources.Policy.Opened, <-r.sources.Discovery.Opened, <-r.sources.Identity.Opened
	p.Send(policyStep(true, 10, route("r", "web")))
	d.Send(catalogue(20, "web"))
	i.Send(bundle(30, "one"))
	return p, d, i
}

func key(name string) model.Key { return model.Key{Namespace: "x", Name: name} }
