package etcdkv_test

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/etcdkv"
	"github.com/weft-mesh/weft/services/internal/kv/kvtest"
)

// cluster is an etcd of one member on loopback, reached over gRPC like any other.
func cluster(t *testing.T) (endpoint string) {
	t.Helper()
	endpoint, _ = member(t, "127.0.0.1:0", "etcd-cluster")
	return endpoint
}

// member is that etcd; token tells one cluster from the next.
func member(t *testing.T, address, token string) (endpoint string, stop func()) {
	t.Helper()
	conf := embed.NewConfig()
	conf.Name, conf.Dir, conf.UnsafeNoFsync = "test", t.TempDir(), true
	conf.ListenPeerUrls, conf.InitialClusterToken = nil, token
	conf.ListenClientUrls = []url.URL{{Scheme: "http", Host: address}}
	conf.InitialCluster = conf.InitialClusterFromName("test")
	conf.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	server, err := embed.StartEtcd(conf)
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(server.Close)
	t.Cleanup(stop)
	select {
	case <-server.Server.ReadyNotify():
	case err := <-server.Err():
		t.Fatal(err)
	}
	return server.Clients[0].Addr().String(), stop
}

func open(t *testing.T, endpoint string) *etcdkv.Store {
	t.Helper()
	s, err := etcdkv.Open(etcdkv.Config{Endpoints: []string{endpoint}, Log: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kvtest.Store { return open(t, cluster(t)) })
}

func TestHoldComesBackAfterItsLeaseWasLost(t *testing.T) {
	endpoint := cluster(t)
	s := open(t, endpoint)
	_, at, err := s.List(t.Context(), "peers/")
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Watch(t.Context(), "peers/", at)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Hold(ctx, "peers/a", []byte("x"), time.Second) }()
	operator, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = operator.Close() }()
	var seen []bool // deleted or not
	for len(seen) < 3 {
		b, err := w.Next()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Events {
			seen = append(seen, e.Deleted)
			if len(seen) == 1 {
				revokeAll(t, operator)
			}
		}
	}
	if seen[0] || !seen[1] || seen[2] {
		t.Errorf("key was deleted: %v, want written, deleted, written again", seen)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Hold = %v, want nil", err)
	}
}

func revokeAll(t *testing.T, c *clientv3.Client) {
	t.Helper()
	leases, err := c.Leases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range leases.Leases {
		if _, err := c.Revoke(t.Context(), l.ID); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAwayIsUnavailable(t *testing.T) {
	s := open(t, "127.0.0.1:1")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, "a"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Get = %v, want a fault of kind Unavailable", err)
	}
}

func TestConfigNamesBadFiles(t *testing.T) {
	for _, cfg := range []etcdkv.Config{
		{CAFile: "/no/such/ca.pem"},
		{CertFile: "/no/such/cert.pem", KeyFile: "/no/such/key.pem"},
	} {
		cfg.Endpoints, cfg.Log = []string{"127.0.0.1:1"}, zap.NewNop()
		if _, err := etcdkv.Open(cfg); err == nil {
			t.Errorf("Open(%+v) = nil, want an error", cfg)
		}
	}
}

// A store that is replaced behind its address must end the watches of the old one: its revisions start again, and a watch that
// went on would wait in silence until they reach where it was.
func TestWatchEndsWhenTheStoreIsReplaced(t *testing.T) {
	t.Parallel() // a server waits for its open streams when it is closed
	endpoint, stop := member(t, "127.0.0.1:0", "a")
	s := open(t, endpoint)
	var at int64
	for range 20 {
		var err error
		if at, err = s.Put(t.Context(), "a", []byte("x"), kv.Always()); err != nil {
			t.Fatal(err)
		}
	}
	before, err := s.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Watch(t.Context(), "", at)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	member(t, endpoint, "b")
	for {
		if _, err := w.Next(); err != nil {
			if !strings.Contains(err.Error(), "restored or made anew") {
				t.Errorf("Next = %v, want an error that says what happened", err)
			}
			break
		}
	}
	if after, err := s.Epoch(t.Context()); err != nil || after == before {
		t.Errorf("epoch %q, %v after the store was replaced, and %q before", after, err, before)
	}
}
