package app_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/internal/rpc"
	"github.com/weft-mesh/weft/services/internal/selfid"
	"github.com/weft-mesh/weft/services/internal/selfid/selfidtest"
)

// fake is a service that answers GetBundle to whom its rule allows.
type fake struct {
	identitypb.UnimplementedIdentityServiceServer
	env   *app.Env
	rule  rpc.Allow
	run   func(context.Context) error
	ready func() error
	call  func(context.Context) error
}

func (f *fake) Register(r *rpc.Registrar) {
	if f.rule == nil {
		return
	}
	identitypb.RegisterIdentityServiceServer(r, f)
	r.AllowService(&identitypb.IdentityService_ServiceDesc, f.rule)
}

func (f *fake) Run(ctx context.Context) error {
	if f.run != nil {
		return f.run(ctx)
	}
	<-ctx.Done()
	return nil
}

func (f *fake) Ready() error {
	if f.ready != nil {
		return f.ready()
	}
	return nil
}

func (f *fake) GetBundle(ctx context.Context, _ *identitypb.GetBundleRequest) (*identitypb.GetBundleResponse, error) {
	if f.call != nil {
		if err := f.call(ctx); err != nil {
			return nil, err
		}
	}
	return &identitypb.GetBundleResponse{Bundle: &identitypb.Bundle{TrustDomain: f.env.Replica}}, nil
}

func (f *fake) build(name string) app.Build {
	return app.Build{Name: name, New: func(env *app.Env) (app.Service, error) {
		f.env = env
		return f, nil
	}}
}

// issuing makes a build the one that signs.
func issuing(b app.Build, ca *selfidtest.CA) app.Build {
	b.Issuer = func(context.Context, *app.Env) (selfid.Issuer, error) { return ca, nil }
	return b
}

// settings are those of a test: everything below a directory of its own, any ports, state in memory.
func settings(t *testing.T) *app.Settings {
	t.Helper()
	s := app.Default()
	dir := t.TempDir()
	s.DataDir, s.RunDir = dir+"/data", dir+"/run"
	s.Store.Kind = app.StoreMem
	s.Listen.GatewayREST = 0
	for _, name := range app.Names() {
		*s.Listen.Port(name) = 0
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	return s
}

// running is a process that runs.
type running struct {
	t     *testing.T
	ports app.Ports
	stop  context.CancelFunc
	done  chan error
}

// start runs a process and returns once it is ready.
func start(t *testing.T, s *app.Settings, builds ...app.Build) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, stop: cancel, done: make(chan error, 1)}
	ready := make(chan app.Ports, 1)
	p := app.Process{Settings: s, Log: zaptest.NewLogger(t), Builds: builds, Ready: func(at app.Ports) { ready <- at }}
	go func() { r.done <- p.Run(ctx) }()
	t.Cleanup(func() { _ = r.wait() })
	select {
	case r.ports = <-ready:
	case err := <-r.done:
		r.done <- err
		t.Fatalf("process ended before it was ready: %v", err)
	}
	return r
}

// wait stops the process and returns what it ended with.
func (r *running) wait() error {
	r.stop()
	err := <-r.done
	r.done <- err
	return err
}

func dial(t *testing.T, env *app.Env, service string) identitypb.IdentityServiceClient {
	t.Helper()
	conn, err := env.Dial(service)
	if err != nil {
		t.Fatal(err)
	}
	return identitypb.NewIdentityServiceClient(conn)
}

func get(ctx context.Context, c identitypb.IdentityServiceClient) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	resp, err := c.GetBundle(ctx, &identitypb.GetBundleRequest{})
	return resp.GetBundle().GetTrustDomain(), err
}

var errNotYet = errors.New("not yet")
