package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy"
	"github.com/weft-mesh/weft/proxy/internal/controltest"
)

// patience bounds every wait of these tests; it is no assertion about speed.
const patience = 20 * time.Second

// rig is a small mesh: "shop" calls "reviews".
type rig struct {
	t       *testing.T
	ctx     context.Context
	plane   *controltest.Plane
	app     string // address of the program behind reviews
	reviews *car
	shop    *car
}

// car is one running sidecar.
type car struct {
	t     *testing.T
	cfg   proxy.Config
	ports struct {
		Mesh, Inbound, Admin string
		Upstreams            map[string]string
	}
	cancel context.CancelFunc
	done   chan error
}

func newRig(t *testing.T, app http.Handler) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	r := &rig{t: t, ctx: ctx, plane: controltest.New(t)}
	r.app = serveApp(t, app)
	r.plane.Distributor.SetIndex(shard("default/reviews"), shard("default/unknown-yet"))
	r.reviews = r.startReviews("reviews-1")
	shop := config(t, "shop-1")
	shop.Upstreams = []proxy.Upstream{{Namespace: "default", Name: "reviews", Port: 80}}
	shop.JoinToken = r.plane.Token(spiffe.Account{Namespace: "default", Name: "shop"})
	r.plane.Distributor.Set("default/shop-1", r.shopResources()...)
	r.shop = r.start(shop)
	return r
}

// startReviews starts one more sidecar of reviews and waits until it is registered. All of them have the same program.
func (r *rig) startReviews(workload string) *car {
	r.t.Helper()
	port := netip.MustParseAddrPort(r.app).Port()
	cfg := config(r.t, workload)
	cfg.Services, cfg.AppPort, cfg.Protocol = []string{"reviews"}, port, "http"
	cfg.Labels = map[string]string{"version": "v1"}
	cfg.JoinToken = r.plane.Token(spiffe.Account{Namespace: "default", Name: "reviews"})
	r.plane.Distributor.Set("default/"+workload, mesh(), access(true), inboundOf(workload, port))
	c := r.start(cfg)
	if _, err := r.plane.Discovery.Await(r.ctx, "default/"+workload, true); err != nil {
		r.t.Fatalf("registration of %s: %v", workload, err)
	}
	return c
}

func serveApp(t *testing.T, app http.Handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: app}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(ln) })
	t.Cleanup(func() {
		srv.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

func config(t *testing.T, workload string) proxy.Config {
	cfg := proxy.Default()
	cfg.Workload = workload
	cfg.StateDir = filepath.Join(t.TempDir(), workload)
	cfg.Drain, cfg.Linger = patience, 0
	return cfg
}

// start runs a sidecar and waits until it has an identity and a table.
func (r *rig) start(cfg proxy.Config) *car {
	r.t.Helper()
	p, err := proxy.New(cfg, zaptest.NewLogger(r.t).Named(cfg.Workload))
	if err != nil {
		r.t.Fatalf("New: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &car{t: r.t, cfg: cfg, cancel: cancel, done: make(chan error, 1)}
	go func() { c.done <- p.Run(ctx) }()
	r.t.Cleanup(func() {
		if err := c.stop(); err != nil {
			r.t.Errorf("end of %s: %v", cfg.Workload, err)
		}
	})
	r.until("start of "+cfg.Workload, func() error {
		raw, err := os.ReadFile(filepath.Join(cfg.StateDir, "ports.json"))
		if err == nil {
			err = json.Unmarshal(raw, &c.ports)
		}
		if err != nil {
			return err
		}
		_, err = c.admin("/startupz")
		return err
	})
	return c
}

// stop ends the sidecar and returns what Run returned; a second call returns nil.
func (c *car) stop() error {
	c.cancel()
	if c.done == nil {
		return nil
	}
	err := <-c.done
	c.done = nil
	return err
}

// until repeats a check until it succeeds.
func (r *rig) until(what string, check func() error) {
	r.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			r.t.Fatalf("%s: %v", what, err)
		}
	}
}

func (c *car) admin(path string) (string, error) { return get("http://" + c.ports.Admin + path) }

// get makes one request on a connection of its own.
func get(url string) (string, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s (%s)", resp.Status, strings.TrimSpace(string(body)), resp.Header.Get("weft-error"))
	}
	return string(body), err
}

// call is a request of the shop's program.
func (r *rig) call(path string) (string, error) {
	return get("http://" + r.shop.ports.Upstreams["default/reviews:80"] + path)
}

func mesh() *configpb.Resource {
	return &configpb.Resource{Name: "mesh", Body: &configpb.Resource_Mesh{Mesh: &configpb.Mesh{
		TrustDomain: "weft.local", Mtls: typepb.MtlsMode_MTLS_MODE_STRICT, RetryPercent: 20, RetryMinPerSecond: 10,
	}}}
}

func access(open bool) *configpb.Resource {
	return &configpb.Resource{Name: "access", Body: &configpb.Resource_Access{Access: &configpb.Access{Open: open}}}
}

func inboundOf(workload string, port uint16) *configpb.Resource {
	return &configpb.Resource{Name: "inbound", Body: &configpb.Resource_Inbound{Inbound: &configpb.Inbound{
		Namespace: "default", Account: "reviews", Workload: workload,
		Ports: []*configpb.InboundPort{{Service: "default/reviews", Port: 80, TargetPort: uint32(port), Protocol: typepb.Protocol_PROTOCOL_HTTP}},
	}}}
}

// shopResources is what the shop needs to call those workloads of reviews that are registered now.
func (r *rig) shopResources() []*configpb.Resource {
	id := "spiffe://weft.local/ns/default/sa/reviews"
	set := &configpb.EndpointSet{Service: "default/reviews", Ids: []string{id}}
	for _, w := range r.plane.Discovery.Endpoints("reviews") {
		set.Endpoints = append(set.Endpoints, &configpb.Endpoint{
			Workload: w.GetMetadata().GetName(), Address: []byte{127, 0, 0, 1}, MeshPort: w.GetSpec().GetMeshPort(), Port: 80,
			TargetPort: w.GetSpec().GetPorts()[0].GetPort(), Id: id, Labels: w.GetSpec().GetLabels(),
		})
	}
	return []*configpb.Resource{
		mesh(), access(true),
		{Name: "inbound", Body: &configpb.Resource_Inbound{Inbound: &configpb.Inbound{Namespace: "default", Account: "shop", Workload: "shop-1"}}},
		{Name: "service/default/reviews", Body: &configpb.Resource_Service{Service: &configpb.Service{
			Name: "default/reviews", Ports: []*configpb.ServicePort{{Port: 80, Protocol: typepb.Protocol_PROTOCOL_HTTP}},
		}}},
		{Name: "endpoints/default/reviews", Body: &configpb.Resource_Endpoints{Endpoints: set}},
	}
}

func shard(name string) *configpb.IndexShard {
	h := fnv.New32a()
	_, _ = io.Copy(h, bytes.NewReader([]byte(name)))
	return &configpb.IndexShard{Shard: h.Sum32() % 64, Version: "1", Entries: []*configpb.IndexEntry{{Name: name, Meshed: true}}}
}

// run runs a sidecar that is expected to end by itself.
func (c *car) run(t *testing.T) error {
	t.Helper()
	p, err := proxy.New(c.cfg, zaptest.NewLogger(t).Named(c.cfg.Workload))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return p.Run(ctx)
}
