package app

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// replica is one replica of "policy" with a real server.
func replica(t *testing.T, ca *testca.CA, store kv.Store, name string) *peers {
	t.Helper()
	trust := ca.Source(t, spiffe.Account{Namespace: spiffe.SystemNamespace, Name: Policy})
	server, err := rpc.NewServer(rpc.ServerConfig{Log: zaptest.NewLogger(t), Trust: trust})
	if err != nil {
		t.Fatal(err)
	}
	l, err := rpc.Listen(t.Context(), "127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	p := newPeers(peersConfig{
		service: Policy, replica: name, address: l.Addr().String(), store: store,
		trust: trust, trustDomain: ca.TrustDomain(), log: zaptest.NewLogger(t),
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- server.Serve(ctx, time.Now, l) }()
	go func() { done <- p.watch(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		p.close()
	})
	return p
}

// hold announces a replica until the returned function is called.
func hold(t *testing.T, p *peers) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.hold(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// eventually waits until the list is as wanted; the test's own timeout bounds it.
func eventually(t *testing.T, p *peers, want []rpc.Peer) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cmp.Equal(want, p.List()) {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("peers = %+v, want %+v", p.List(), want)
		}
	}
}

func TestPeersFindEachOther(t *testing.T) {
	ca, store := testca.New(t, "weft.local"), memkv.New()
	a, b := replica(t, ca, store, "a"), replica(t, ca, store, "b")
	leaveA, leaveB := hold(t, a), hold(t, b)
	defer leaveA()
	peerB := rpc.Peer{Replica: "b", Address: b.cfg.address}
	eventually(t, a, []rpc.Peer{peerB})
	eventually(t, b, []rpc.Peer{{Replica: "a", Address: a.cfg.address}})

	conn, err := a.Dial(peerB)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("call of a peer = %v", err)
	}
	if again, err := a.Dial(peerB); err != nil || again != conn {
		t.Errorf("second Dial = %v, %v; want the same connection", again, err)
	}
	leaveB()
	eventually(t, a, nil)
	if _, err := a.Dial(peerB); err == nil {
		t.Error("Dial of a peer that has gone succeeded")
	}
}

func TestPeersSurviveLostHistory(t *testing.T) {
	ca, store := testca.New(t, "weft.local"), memkv.New()
	a := replica(t, ca, store, "a")
	eventually(t, a, nil)
	rev, err := store.Put(t.Context(), peerPrefix+"b", []byte("x:1"), kv.Always())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Compact(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	eventually(t, a, []rpc.Peer{{Replica: "b", Address: "x:1"}})
}
