package proxy

import (
	"context"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/lifecycle"
	"github.com/weft-mesh/weft/proxy/internal/capture"
	"github.com/weft-mesh/weft/proxy/internal/health"
	"github.com/weft-mesh/weft/proxy/internal/inbound"
	"github.com/weft-mesh/weft/proxy/internal/outbound"
)

// traffic is both directions of the request walk.
type traffic struct {
	cfg       Config
	listeners *listeners
	in        *inbound.Server
	out       *outbound.Server

	deadline sync.Once
	endBy    time.Time // when everything in flight has to be over; set by deadline
}

func newTraffic(s *sidecar) *traffic {
	return &traffic{
		cfg:       s.cfg,
		listeners: s.listeners,
		in: inbound.New(inbound.Config{
			Tables: s.tables, Identity: s.identity.Source(), Emit: s.recorder.Emit, Open: s.recorder.Open, Space: s.space,
		}),
		out: outbound.New(outbound.Config{
			Tables: s.tables, Identity: s.identity.Source(), Emit: s.recorder.Emit, Open: s.recorder.Open, Health: health.NewRegistry(),
			Want: func(service string) { s.config.Want(service) }, WantAddress: s.config.Address, Own: ownAddress(s.cfg.Advertise, s.listeners),
		}),
	}
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
			g.Add("resolver "+p.Addr().String(), lasting(p.Run))
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

// serve runs the group until ctx ends, then drains, and only then stops the group: ending its context cuts connections.
func (t *traffic) serve(ctx context.Context, g *lifecycle.Group, drain func(context.Context) error) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- g.Run(inner) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	limit, stop := context.WithDeadline(inner, t.drainBy())
	defer stop()
	drained := drain(limit)
	cancel()
	if err := <-done; err != nil {
		return err
	}
	return drained
}

// drainBy is one deadline for both directions: the drain that was configured, from when the first of them begins.
func (t *traffic) drainBy() time.Time {
	t.deadline.Do(func() { t.endBy = time.Now().Add(t.cfg.Drain) })
	return t.endBy
}
