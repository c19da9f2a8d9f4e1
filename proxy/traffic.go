package proxy

import (
	"context"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/lifecycle"
	"github.com/weft-mesh/weft/proxy/internal/capture"
	"github.com/weft-mesh/weft/proxy/internal/health"
	"github.com/weft-mesh/weft/proxy/internal/inbound"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/outbound"
	"github.com/weft-mesh/weft/proxy/internal/tenure"
)

// directions: inbound and outbound.
const directions = 2

// traffic is both directions of the request walk.
type traffic struct {
	cfg       Config
	tenure    *tenure.Tenure
	listeners *listeners
	in        *inbound.Server
	out       *outbound.Server

	opened  chan struct{} // closed when traffic may be accepted
	leaving chan struct{} // closed when another process accepts it
	drained chan struct{} // gets one word of each direction that has drained after leaving

	deadline sync.Once
	endBy    time.Time // when everything in flight has to be over; set by deadline
	leftAt   time.Time // when leaving was closed
}

func newTraffic(s *sidecar) *traffic {
	t := &traffic{
		cfg:       s.cfg,
		tenure:    s.tenure,
		listeners: s.listeners,
		opened:    make(chan struct{}),
		leaving:   make(chan struct{}),
		drained:   make(chan struct{}, directions),
		in: inbound.New(inbound.Config{
			Tables: s.tables, Identity: s.identity.Source(), Emit: s.recorder.Emit, Open: s.recorder.Open, Space: s.space,
			Guard: limit.New(s.cfg.Limits),
		}),
		out: outbound.New(outbound.Config{
			Tables: s.tables, Identity: s.identity.Source(), Emit: s.recorder.Emit, Open: s.recorder.Open, Health: health.NewRegistry(),
			Want: func(service string) { s.config.Want(service) }, WantAddress: s.config.Address, Own: ownAddress(s.cfg.Advertise, s.listeners),
			Guard: limit.New(s.cfg.Limits),
		}),
	}
	return t
}

// open lets both directions accept.
func (t *traffic) open() { close(t.opened) }

// leave makes both directions accept nothing more: another process does. What has begun goes on.
func (t *traffic) leave() {
	t.listeners.silence()
	t.leftAt = time.Now()
	close(t.leaving)
}

// runInbound serves what reaches the workload.
func (t *traffic) runInbound(ctx context.Context) error {
	var g lifecycle.Group
	g.Add("engine", t.in.Run)
	g.Add("mesh port", lasting(func(ctx context.Context) error { return t.in.ServeMesh(ctx, t.listeners.mesh) }))
	if ln := t.listeners.inbound; ln != nil {
		g.Add("plaintext port", lasting(func(ctx context.Context) error { return t.in.ServePlaintext(ctx, ln, t.cfg.AppPort) }))
	}
	if c := t.listeners.captured; c != nil {
		g.Add("captured plaintext", lasting(func(ctx context.Context) error { return t.in.ServeCaptured(ctx, c.inbound, capture.Original) }))
	}
	t.inboundPackets(&g)
	return t.serve(ctx, &g, t.in.Drain)
}

// runOutbound serves what the app sends.
func (t *traffic) runOutbound(ctx context.Context) error {
	var g lifecycle.Group
	g.Add("engine", t.out.Run)
	t.outboundPackets(&g)
	for _, u := range t.cfg.Upstreams {
		ln := t.listeners.upstreams[u.Key()]
		if ln == nil {
			continue // one of UDP
		}
		g.Add("upstream "+u.Key(), lasting(func(ctx context.Context) error { return t.out.Serve(ctx, ln, upstreamOf(u)) }))
	}
	if c := t.listeners.captured; c != nil {
		for _, p := range c.dns {
			g.Add("resolver "+p.Addr().String(), t.tenure.After(lasting(p.Run)))
		}
		for _, ln := range c.outbound {
			g.Add("captured "+ln.Addr().String(), lasting(func(ctx context.Context) error { return t.out.ServeCaptured(ctx, ln, capture.Original) }))
		}
	}
	return t.serve(ctx, &g, t.out.Drain)
}

func upstreamOf(u Upstream) outbound.Upstream {
	return outbound.Upstream{Service: u.Service(), Port: u.Port, UDP: u.UDP}
}

// lasting keeps a part of a group from stopping the others when it has drained before them.
func lasting(run lifecycle.Run) lifecycle.Run {
	return func(ctx context.Context) error {
		if err := run(ctx); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}
}

// serve runs the group until ctx ends or traffic is left to another process, then drains, and only then stops the group: ending
// its context cuts connections.
func (t *traffic) serve(ctx context.Context, g *lifecycle.Group, drain func(context.Context) error) error {
	select {
	case <-t.opened:
	case <-ctx.Done():
		return nil
	}
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- g.Run(inner) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	case <-t.leaving:
	}
	limit, stop := t.limit(ctx, inner)
	defer stop()
	drained := drain(limit)
	cancel()
	if err := <-done; err != nil {
		return err
	}
	if t.left() {
		t.drained <- struct{}{}
		<-ctx.Done()
	}
	return drained
}

func (t *traffic) left() bool {
	select {
	case <-t.leaving:
		return true
	default:
		return false
	}
}

// limit bounds a drain: that of an upgrade, which may take longer, is bounded by the common one once the end is asked for.
func (t *traffic) limit(ctx, inner context.Context) (context.Context, context.CancelFunc) {
	if !t.left() {
		return context.WithDeadline(inner, t.drainBy())
	}
	limit, cancel := context.WithDeadline(inner, t.leftAt.Add(t.cfg.Upgrade.Drain))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(time.Until(t.drainBy()), cancel)
	})
	return limit, func() {
		stop()
		cancel()
	}
}

// drainBy is one deadline for both directions: the drain that was configured, from when the first of them begins.
func (t *traffic) drainBy() time.Time {
	t.deadline.Do(func() { t.endBy = time.Now().Add(t.cfg.Drain) })
	return t.endBy
}
