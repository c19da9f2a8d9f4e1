package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/integration/bench/app"
	"github.com/weft-mesh/weft/integration/bench/load"
	"github.com/weft-mesh/weft/integration/bench/peers"
	"github.com/weft-mesh/weft/integration/harness"
)

// stage is everything that runs for the scenarios of one world.
type stage struct {
	opts        Options
	place       peers.Place
	app, client *child
	contenders  []*peers.Contender
}

// stage starts the app, the client and the contenders, and waits until all serve everything.
func (r *run) stage(ctx context.Context, w world, names []string) (_ *stage, err error) {
	r.started++
	dir := filepath.Join(r.dir, fmt.Sprint(r.started))
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &stage{opts: r.opts, place: peers.Place{
		Dir: dir, Bin: r.opts.Bin, Self: self, Debian: r.opts.Debian, Envoy: r.opts.Envoy, Cores: r.proxies, Single: w.Single, Ports: r.ports, Files: r.files,
	}}
	others := r.others
	if w.Unpinned {
		s.place.Cores, others = r.all, r.all
	}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if s.place.App, err = s.place.Addresses(); err != nil {
		return nil, err
	}
	config, err := json.Marshal(s.place.App)
	if err != nil {
		return nil, err
	}
	if s.app, err = startChild(ctx, others, "app", string(config)); err != nil {
		return nil, err
	}
	if s.client, err = startChild(ctx, others, "client", ""); err != nil {
		return nil, err
	}
	for _, name := range names {
		c, err := s.place.Start(ctx, name)
		if err != nil {
			return nil, err
		}
		s.contenders = append(s.contenders, c)
		if err := s.await(ctx, c); err != nil {
			return nil, fmt.Errorf("%s does not serve: %w\n%s", name, err, c.Logs())
		}
	}
	return s, nil
}

func (s *stage) stop() {
	for _, c := range s.contenders {
		c.Stop()
	}
	s.client.stop()
	s.app.stop()
}

// await waits until a contender answers on every listener.
func (s *stage) await(ctx context.Context, c *peers.Contender) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for protocol, spec := range map[string]load.Spec{
		peers.HTTP: {Kind: load.HTTP, Path: app.Small}, peers.GRPC: {Kind: load.GRPC, Streams: 1}, peers.TCP: {Kind: load.TCPEcho},
	} {
		spec.Address, spec.Conns, spec.For = c.Entry[protocol], 1, 50*time.Millisecond
		err := harness.Eventually(ctx, func() error {
			if err := c.Alive(); err != nil {
				return harness.Fatal{Err: err}
			}
			_, err := s.client.run(spec)
			return err
		})
		if err != nil {
			return err
		}
	}
	return s.refuses(c)
}

// refuses is an error when the inbound half of a pair lets somebody in who has no certificate: then it would do less than others.
func (s *stage) refuses(c *peers.Contender) error {
	if !c.Inner.IsValid() {
		return nil
	}
	anonymous := *c.TLS
	anonymous.Cert = ""
	spec := load.Spec{Kind: load.Handshake, Address: c.Inner, Path: app.Small, Conns: 1, For: 10 * time.Millisecond, TLS: &anonymous}
	if _, err := s.client.run(spec); err == nil {
		return errors.New("the inbound half serves a client without a certificate")
	}
	return nil
}

// sample is what one contender did in one round.
type sample struct {
	Scenario  string `json:"scenario"`
	Contender string `json:"contender"`
	Round     int    `json:"round"`
	// Outbound and Inbound are CPU microseconds of both halves for each unit; Each is their sum.
	Outbound float64 `json:"outbound_us"`
	Inbound  float64 `json:"inbound_us"`
	Each     float64 `json:"each_us"`
	// Opened is how many connections the proxy opened to the app.
	Opened int64 `json:"opened"`
	load.Result
}

// sample gives a scenario to a contender once.
func (s *stage) sample(c *peers.Contender, sc scenario) (sample, error) {
	out := sample{Scenario: sc.Name, Contender: c.Name}
	spec, front := s.spec(c, sc)
	before, err := s.opened(sc.Protocol)
	if err != nil {
		return out, err
	}
	if out.Result, err = s.client.run(spec); err != nil {
		return out, err
	}
	after, err := s.opened(sc.Protocol)
	if err != nil {
		return out, err
	}
	for i, us := range out.CPU {
		if i < front {
			out.Outbound += us / out.Done
		} else {
			out.Inbound += us / out.Done
		}
	}
	out.Each = out.Outbound + out.Inbound
	out.Opened = after - before
	return out, s.reused(sc, spec, out)
}

// spec is the load of a scenario for a contender; the first processes of it are those of the outbound half.
func (s *stage) spec(c *peers.Contender, sc scenario) (spec load.Spec, front int) {
	spec = sc.Load
	spec.Warm, spec.For = s.opts.Warm, s.opts.For
	spec.Address = c.Entry[sc.Protocol]
	if sc.Inner {
		spec.Address, spec.TLS = c.Inner, c.TLS
	} else {
		spec.Pids = c.Front()
	}
	front = len(spec.Pids)
	spec.Pids = append(spec.Pids, c.Back(sc.Protocol)...)
	return spec, front
}

func (s *stage) opened(protocol string) (int64, error) {
	var c counts
	err := s.app.ask("counts", &c)
	return c[protocol], err
}

// reused is an error when a proxy opened far more connections to the app than it needs.
func (s *stage) reused(sc scenario, spec load.Spec, out sample) error {
	if allowed := int64(out.Done/20) + 4*int64(spec.Conns*max(1, spec.Streams)); sc.Reuse && out.Opened > allowed {
		return fmt.Errorf("%d connections to the app for %.0f answers: it does not reuse them", out.Opened, out.Done)
	}
	return nil
}
