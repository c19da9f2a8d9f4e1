package rpc_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc/connectivity"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// replica is a server on loopback that counts its calls; stop drains it.
func replica(t *testing.T, ca *testca.CA, calls chan<- string, name string) (address string, stop func()) {
	t.Helper()
	return replicaOn(t, 0, ca, calls, name)
}

func replicaOn(t *testing.T, port int, ca *testca.CA, calls chan<- string, name string) (address string, stop func()) {
	t.Helper()
	server, err := rpc.NewServer(rpc.ServerConfig{Log: zaptest.NewLogger(t), Trust: ca.Source(t, system("policy"))})
	if err != nil {
		t.Fatal(err)
	}
	identitypb.RegisterIdentityServiceServer(server.Registrar(), &methods{bundle: func(context.Context) error {
		calls <- name
		return nil
	}})
	allow(rpc.Anyone())(server.Registrar())
	server.SetServing(true)
	l, err := rpc.Listen(t.Context(), "127.0.0.1", port)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- server.Serve(ctx, func() time.Time { return time.Now().Add(time.Minute) }, l)
	}()
	stop = func() {
		cancel()
		err := <-done
		done <- err
		if err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func TestCallsGoRoundTheReplicas(t *testing.T) {
	ca := testca.New(t, "weft.local")
	calls := make(chan string, 1)
	a, stopA := replica(t, ca, calls, "a")
	b, _ := replica(t, ca, calls, "b")
	conn, err := rpc.Dial(rpc.DialConfig{
		Service: "policy", Trust: ca.Source(t, system("gateway")), TrustDomain: ca.TrustDomain(),
		Addresses: []string{a, "127.0.0.1:1", b}, // nobody listens on the one in the middle
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := identitypb.NewIdentityServiceClient(conn)
	for seen := map[string]bool{}; len(seen) < 2; {
		if err := call(t, client); err != nil {
			t.Fatal(err)
		}
		seen[<-calls] = true
	}
	stopA()
	for range 20 {
		if err := call(t, client); err != nil {
			t.Fatalf("call after one of two replicas has drained = %v", err)
		}
		if at := <-calls; at != "b" {
			t.Fatalf("call went to %q, which has drained", at)
		}
	}
}

// TestReplicaThatIsBackIsFound: a call does not fail because the replica was away when the connection was tried last.
func TestReplicaThatIsBackIsFound(t *testing.T) {
	ca := testca.New(t, "weft.local")
	calls := make(chan string, 1)
	address, stop := replica(t, ca, calls, "before")
	stop()
	conn, err := rpc.Dial(rpc.DialConfig{
		Service: "policy", Trust: ca.Source(t, system("gateway")), TrustDomain: ca.TrustDomain(), Addresses: []string{address, "127.0.0.1:1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := identitypb.NewIdentityServiceClient(conn)
	for conn.GetState() != connectivity.TransientFailure {
		if err := call(t, client); err == nil {
			t.Fatal("somebody answered")
		}
	}
	replicaOn(t, int(netip.MustParseAddrPort(address).Port()), ca, calls, "after")
	if err := call(t, client); err != nil {
		t.Errorf("call right after the replica came back = %v", err)
	}
}
