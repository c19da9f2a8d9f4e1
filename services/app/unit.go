package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/internal/adminhttp"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/rpc"
	"github.com/weft-mesh/weft/services/internal/selfid"
)

// unit is one service in a process, with what it was lent.
type unit struct {
	name    string
	build   Build
	log     *zap.Logger
	env     *Env
	service Service
	trust   *spiffe.Source
	keeper  *selfid.Keeper
	remote  *selfid.Remote // nil when identity is in this process
	server  *rpc.Server
	memory  rpc.Memory
	metrics *prometheus.Registry
	peers   *peers
	local   func(service string) *unit
	bundled *atomic.Bool // the process has written the bundle file
	td      spiffeid.TrustDomain

	grpcListener  net.Listener
	adminListener net.Listener
	restAddress   string // gateway only

	serving  atomic.Bool
	draining atomic.Bool
	state    readiness // readiness loop only

	mu    sync.Mutex
	extra map[string]net.Listener // handed out by Env.Listen, each once
	conns map[string]*grpc.ClientConn
}

// assemble makes the server and the service, and checks that every method has a rule.
func (u *unit) assemble() error {
	var err error
	anonymous := u.name == Identity // who joins has no SVID yet
	u.server, err = rpc.NewServer(rpc.ServerConfig{
		Log: u.log.Named("rpc"), Trust: u.trust, Anonymous: anonymous, Metrics: u.metrics, SVIDTTL: u.env.Settings.Identity.SVIDTTL,
	})
	if err != nil {
		return fmt.Errorf("make server of %s: %w", u.name, err)
	}
	if u.service, err = u.build.New(u.env); err != nil {
		return fmt.Errorf("make %s: %w", u.name, err)
	}
	u.service.Register(u.server.Registrar())
	if err := u.server.Check(); err != nil {
		return fmt.Errorf("make %s: %w", u.name, err)
	}
	return nil
}

// ready says why the service cannot do its job, or nil.
func (u *unit) ready() error {
	switch {
	case u.draining.Load():
		return errors.New("draining")
	case u.trust.Load() == nil:
		return errors.New("waiting for its own SVID")
	case !time.Now().Before(u.trust.Load().NotAfter()):
		return errors.New("its own SVID has run out")
	case !u.serving.Load():
		return errors.New("starting")
	case !u.bundled.Load():
		return errors.New("waiting for the trust bundle to be written")
	case !u.peers.synced():
		return errors.New("waiting for the list of its peers")
	}
	return u.service.Ready()
}

// patience is how long a starting service may be unready before that is worth a line.
const patience = 2 * time.Second

// logReadiness writes changes of it. What ends by itself while the process starts is no news.
func (u *unit) logReadiness(err error) {
	text := "ready"
	if err != nil {
		text = err.Error()
	}
	if text != u.state.text {
		u.state.text, u.state.since, u.state.logged = text, time.Now(), false
	}
	switch {
	case u.state.logged:
	case err == nil:
		u.state.logged, u.state.wasReady = true, true
		u.log.Info("service ready", zap.String("address", u.grpcListener.Addr().String()))
	case u.state.wasReady || time.Since(u.state.since) > patience:
		u.state.logged = true
		u.log.Warn("service not ready", zap.String("reason", text))
	}
}

// readiness is what was seen and logged of it last.
type readiness struct {
	text     string
	since    time.Time
	logged   bool
	wasReady bool
}

func (u *unit) serveAdmin(ctx context.Context) error {
	s := adminhttp.New(adminhttp.Config{Log: u.log.Named("admin"), Ready: u.ready, Metrics: u.metrics})
	return s.Serve(ctx, u.adminListener)
}

// serveRPC accepts once the service has its SVID; whoever connects before waits in the listener's queue.
func (u *unit) serveRPC(ctx context.Context, deadline func() time.Time) error {
	if _, err := u.trust.Wait(ctx); err != nil {
		return nil //nolint:nilerr // ctx has ended before the first SVID came
	}
	u.serving.Store(true)
	if u.name == Gateway { // its port is for people: it serves that itself
		return u.server.Serve(ctx, deadline, u.memory)
	}
	return u.server.Serve(ctx, deadline, u.grpcListener, u.memory)
}

// announce makes this replica known to its peers once it serves.
func (u *unit) announce(ctx context.Context) error {
	if _, err := u.trust.Wait(ctx); err != nil {
		return nil //nolint:nilerr // ctx has ended before the first SVID came
	}
	return u.peers.hold(ctx)
}

// dial is what the service's Env lends: one connection for each other service, shared by all who ask.
func (u *unit) dial(service string) (grpc.ClientConnInterface, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if conn, ok := u.conns[service]; ok {
		return conn, nil
	}
	cfg := rpc.DialConfig{Service: service, Trust: u.trust, TrustDomain: u.td}
	if other := u.local(service); other != nil {
		cfg.InMemory = other.memory.Dial
	} else if cfg.Addresses = u.env.Settings.AddressesOf(service); len(cfg.Addresses) == 0 {
		return nil, fmt.Errorf("dial %q: there is no such service; there are %q", service, Names())
	}
	conn, err := rpc.Dial(cfg)
	if err != nil {
		return nil, err
	}
	u.conns[service] = conn
	return conn, nil
}

// dialEach is what the service's Env lends for asking replicas one by one.
func (u *unit) dialEach(service string) (map[string]grpc.ClientConnInterface, error) {
	if u.local(service) != nil {
		conn, err := u.dial(service)
		return map[string]grpc.ClientConnInterface{u.env.Replica: conn}, err
	}
	out := map[string]grpc.ClientConnInterface{}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, address := range u.env.Settings.AddressesOf(service) {
		key := service + " " + address
		if u.conns[key] == nil {
			conn, err := rpc.Dial(rpc.DialConfig{Service: service, Trust: u.trust, TrustDomain: u.td, Addresses: []string{address}, Direct: true})
			if err != nil {
				return nil, err
			}
			u.conns[key] = conn
		}
		out[address] = u.conns[key]
	}
	return out, nil
}

// listener hands out an extra listener, once.
func (u *unit) listener(name string) (net.Listener, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	l, ok := u.extra[name]
	if !ok {
		return nil, fmt.Errorf("%s has no listener %q left", u.name, name)
	}
	delete(u.extra, name)
	return l, nil
}

// close releases what is left when everything has stopped. Errors have nobody left to act on them: listeners are closed
// already when they have been served, and connections have no calls any more.
func (u *unit) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, conn := range u.conns {
		_ = conn.Close()
	}
	for _, l := range u.extra {
		_ = l.Close()
	}
	if u.remote != nil {
		_ = u.remote.Close()
	}
	u.peers.close()
	_ = u.grpcListener.Close()
	_ = u.adminListener.Close()
	_ = u.memory.Close()
}

// newRegistry makes a service's registry; trust is where its SVID is.
func newRegistry(trust *spiffe.Source) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&expiryCollector{trust: trust, desc: prometheus.NewDesc("weft_svid_expiry_timestamp_seconds",
			"When this service's own SVID expires, in Unix time; absent without one.", nil, nil)},
	)
	return r
}
