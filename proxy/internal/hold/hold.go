package hold

import (
	"context"
	"net/netip"
	"time"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// Config is what a Hold waits on.
type Config struct {
	Tables   *table.Holder
	Identity *spiffe.Source
	// Want subscribes to a service's body ("namespace/name"); called at least once for each wait, must not block. May be nil.
	Want func(service string)
	// WantAddress subscribes to what is at an address; the channel is closed once the answer is in the table, or when none is
	// to be expected. Must not block. May be nil: nothing is known of any address.
	WantAddress func(netip.Addr) <-chan struct{}
	// Ready bounds the wait for the first table and SVID; 0: 5 s.
	Ready time.Duration
	// Body bounds the wait for a service's body, or for what is at an address; 0: 1 s.
	Body time.Duration
}

// Hold waits. It is safe for use by many goroutines.
type Hold struct {
	cfg Config
}

// New makes a Hold.
func New(cfg Config) *Hold {
	if cfg.Ready == 0 {
		cfg.Ready = 5 * time.Second
	}
	if cfg.Body == 0 {
		cfg.Body = time.Second
	}
	return &Hold{cfg: cfg}
}

// Table returns the current table once there are a table and an SVID, or NotReady.
func (h *Hold) Table(ctx context.Context) (*table.Table, flow.Reason) {
	if t := h.ready(); t != nil {
		return t, flow.None
	}
	timer := time.NewTimer(h.cfg.Ready)
	defer timer.Stop()
	for {
		tables, identity := h.cfg.Tables.Changed(), h.cfg.Identity.Changed()
		if t := h.ready(); t != nil {
			return t, flow.None
		}
		select {
		case <-tables:
		case <-identity:
		case <-timer.C:
			return nil, flow.NotReady
		case <-ctx.Done():
			return nil, flow.NotReady
		}
	}
}

func (h *Hold) ready() *table.Table {
	if h.cfg.Identity.Load() == nil {
		return nil
	}
	return h.cfg.Tables.Load()
}

// Identity returns None once there is an SVID, or NotReady.
func (h *Hold) Identity(ctx context.Context) flow.Reason {
	if h.cfg.Identity.Load() != nil {
		return flow.None
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Ready)
	defer cancel()
	if _, err := h.cfg.Identity.Wait(ctx); err != nil {
		return flow.NotReady
	}
	return flow.None
}

// Now is Service without waiting: nil when there is something to wait for, or to refuse.
func (h *Hold) Now(name string) (*table.Table, *table.Service) {
	t := h.ready()
	if t == nil {
		return nil, nil
	}
	return t, t.Services[name]
}

// Service returns the current table and the body of a service ("namespace/name"). A service that the index does not know is
// NoRoute at once (it stays wanted, so that it works as soon as it exists); one that has no body in time is NotSubscribed.
func (h *Hold) Service(ctx context.Context, name string) (*table.Table, *table.Service, flow.Reason) {
	t, reason := h.Table(ctx)
	if reason != flow.None {
		return nil, nil, reason
	}
	if svc := t.Services[name]; svc != nil {
		return t, svc, flow.None
	}
	return h.body(ctx, name)
}

func (h *Hold) body(ctx context.Context, name string) (*table.Table, *table.Service, flow.Reason) {
	if h.cfg.Want != nil {
		h.cfg.Want(name)
	}
	timer := time.NewTimer(h.cfg.Body)
	defer timer.Stop()
	for {
		changed := h.cfg.Tables.Changed()
		t := h.cfg.Tables.Load()
		if svc := t.Services[name]; svc != nil {
			return t, svc, flow.None
		}
		if t.Index == nil {
			return t, nil, flow.NotSubscribed
		}
		if _, known := t.Index.Lookup(name); !known {
			return t, nil, flow.NoRoute
		}
		select {
		case <-changed:
		case <-timer.C:
			return t, nil, flow.NotSubscribed
		case <-ctx.Done():
			return t, nil, flow.NotSubscribed
		}
	}
}

// Address returns the current table, and what the mesh has at an address; nil: nobody has said in time.
func (h *Hold) Address(ctx context.Context, addr netip.Addr) (*table.Table, *table.Address, flow.Reason) {
	t, reason := h.Table(ctx)
	if reason != flow.None || h.cfg.WantAddress == nil {
		return t, nil, reason
	}
	answered := h.cfg.WantAddress(addr) // also when it is known: who is wanted is kept
	if a := t.Addresses[addr]; a != nil {
		return t, a, flow.None
	}
	timer := time.NewTimer(h.cfg.Body)
	defer timer.Stop()
	select {
	case <-answered:
	case <-timer.C:
	case <-ctx.Done():
	}
	t = h.cfg.Tables.Load()
	return t, t.Addresses[addr], flow.None
}
