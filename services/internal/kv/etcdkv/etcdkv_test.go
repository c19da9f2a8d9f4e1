package etcdkv_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv/etcdkv"
	"github.com/weft-mesh/weft/services/internal/kv/kvtest"
)

// cluster is an etcd of one member on loopback, reached over gRPC like any other.
func cluster(t *testing.T) (endpoint string) {
	t.Helper()
	conf := embed.NewConfig()
	conf.Name, conf.Dir, conf.UnsafeNoFsync = "test", t.TempDir(), true
	conf.ListenPeerUrls = nil
	conf.ListenClientUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	conf.InitialCluster = conf.InitialClusterFromName("test")
	conf.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	server, err := embed.StartEtcd(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	select {
	case <-server.Server.ReadyNotify():
	case err := <-server.Err():
		t.Fatal(err)
	}
	return server.Clients[0].Addr().String()
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
