package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	"github.com/weft-mesh/weft/integration/harness"
)

// sidecars of a world.
const sidecars = 4

// etcd opens a client to one member, past its relay.
func (w *world) etcd(m *harness.Member) *clientv3.Client {
	w.t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{m.Client()}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	must(w.t, err)
	w.t.Cleanup(func() { c.Close() })
	return c
}

// leader finds the member that leads.
func (w *world) leader() *harness.Member {
	w.t.Helper()
	var found *harness.Member
	w.eventually("etcd has a leader", func() error {
		for _, m := range w.Members() {
			if !m.Running() {
				continue
			}
			c, err := clientv3.New(clientv3.Config{Endpoints: []string{m.Client()}, Logger: zap.NewNop()})
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Second)
			s, err := c.Status(ctx, m.Client())
			cancel()
			c.Close()
			if err == nil && s.Leader != 0 && s.Leader == s.Header.GetMemberId() {
				found = m
				return nil
			}
		}
		return errors.New("nobody leads")
	})
	return found
}

// states are the workloads' states, by name.
func (w *world) states() (map[string]string, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	list, err := w.discovery.ListWorkloads(ctx, &discoverypb.ListWorkloadsRequest{Namespace: "default"})
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, wl := range list.GetWorkloads() {
		out[wl.GetMetadata().GetName()] = wl.GetStatus().GetState().String()
	}
	return out, nil
}

// TestC9_LeaderKilledUnderWrites: every acknowledged write is there afterwards, writers wait for an election, traffic for nobody.
func TestC9_LeaderKilledUnderWrites(t *testing.T) {
	w := newWorld(t, 1)
	requests, writes := w.steady(), w.newLedger("write")
	for range 2 {
		writes.more(20)
		m := w.leader()
		m.Kill()
		writes.more(20)
		w.more(requests, 50)
		must(t, m.Restart())
		must(t, w.EtcdHealthy(t.Context()))
	}
	writes.audit()
	requests.stop()
	w.whole(sidecars)
}

// TestC16_QuorumLostAndRegained: without a quorum writes are refused readably and everything else goes on as it was, for longer
// than a lease; then nothing is lost, nobody has expired, and changes go through again.
func TestC16_QuorumLostAndRegained(t *testing.T) {
	w := newWorld(t, 1, "--lease-ttl", "4s", "--heartbeat", "1s")
	requests, writes := w.steady(), w.newLedger("write")
	writes.more(20)
	frozen, err := w.states()
	must(t, err)
	m := w.Members()
	m[0].Kill()
	m[1].Kill()
	w.eventually("a write is refused", func() error {
		err := w.create(t.Context(), "refused")
		if err == nil {
			return errors.New("it was taken")
		}
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "store does not answer") {
			return fmt.Errorf("%w, want UNAVAILABLE and that the store does not answer", err)
		}
		return nil
	})
	w.wait(10 * time.Second) // two leases and more
	w.more(requests, 50)
	// Who asks is answered while the gateway still knows the token, which is in the store too, and else refused as readably.
	if _, err := w.convergence.ListSidecars(t.Context(), &configpb.ListSidecarsRequest{}); err != nil &&
		(status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "store does not answer")) {
		t.Errorf("status without a quorum: %v, want an answer, or UNAVAILABLE and that the store does not answer", err)
	}
	must(t, m[0].Restart())
	must(t, m[1].Restart())
	must(t, w.EtcdHealthy(t.Context()))
	writes.more(20)
	writes.audit()
	w.wait(6 * time.Second) // a lease: who was expired by the outage would be marked by now
	after, err := w.states()
	must(t, err)
	for name, state := range frozen {
		if state != "WORKLOAD_STATE_READY" || after[name] != state {
			t.Errorf("%s is %s before the outage and %s after it, want READY", name, state, after[name])
		}
	}
	if n := w.metric("discovery", "weft_discovery_leases_expired_total", ""); n != 0 {
		t.Errorf("%v leases expired by an outage of the store", n)
	}
	requests.stop()
	w.whole(sidecars)
}

// TestC7_CompactionWhileAWatcherIsAway: a service that finds its history compacted reads everything anew, says so, and has what
// changed meanwhile.
func TestC7_CompactionWhileAWatcherIsAway(t *testing.T) {
	const key = "/weft/policy/v1/accesspolicies/default/reviews-callers"
	w := newWorld(t, 1)
	_, err := w.allow(t.Context(), "good", "other")
	must(t, err)
	c := w.etcd(w.Members()[0])
	allowing, err := c.Get(t.Context(), key)
	if err != nil || len(allowing.Kvs) != 1 {
		t.Fatalf("%s: %v, %v", key, allowing, err)
	}
	denied, err := w.allow(t.Context(), "good")
	must(t, err)
	must(t, w.applied(t.Context(), denied))
	requests, writes := w.steady(), w.newLedger("write")
	writes.more(5)

	for _, m := range w.Members() {
		m.Cut(false)
	}
	changed, err := c.Put(t.Context(), key, string(allowing.Kvs[0].Value))
	must(t, err)
	last := changed.Header.GetRevision()
	for range 20 {
		resp, err := c.Put(t.Context(), "/weft/policy/v1/elsewhere/default/x", "x")
		must(t, err)
		last = resp.Header.GetRevision()
	}
	_, err = c.Compact(t.Context(), last, clientv3.WithCompactPhysical())
	must(t, err)
	for _, m := range w.Members() {
		m.Heal()
	}

	w.eventually("what changed meanwhile is in force", func() error { return ask(t.Context(), w.other).failure() })
	if w.metric("policy", "weft_policy_watch_resets_total", `reason="too_old"`) == 0 || w.metric("distributor", "weft_distributor_resets_total", `source="policy"`) == 0 {
		t.Error("the resync is not counted")
	}
	writes.more(20)
	writes.audit()
	w.more(requests, 50)
	requests.stop()
	w.whole(sidecars)
}

// TestC9_SlowDisks: members that stand still for a while, at random, make nobody wait for ever.
func TestC9_SlowDisks(t *testing.T) {
	w := newWorld(t, 1)
	r := newDice(t)
	requests, writes := w.steady(), w.newLedger("write")
	for range 12 {
		m := w.Members()[r.IntN(3)]
		m.Pause()
		w.wait(time.Duration(50+r.IntN(900)) * time.Millisecond)
		m.Resume()
		w.wait(time.Duration(r.IntN(200)) * time.Millisecond)
	}
	writes.more(20)
	writes.audit()
	w.more(requests, 50)
	requests.stop()
	w.whole(sidecars)
}
