package outbound

import (
	"context"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// touchEvery is how often, at most, the use of a workload's address is told to whoever keeps what is known of it.
const touchEvery = 60

// service is what a port leads to, by the newest table. It waits for what the sidecar does not have yet.
func (s *Server) service(ctx context.Context, p *port) (*table.Table, *table.Service, flow.Reason) {
	if !p.workload.IsValid() {
		return s.hold.Service(ctx, p.Service)
	}
	t, svc := s.now(p)
	if svc != nil {
		return t, svc, flow.None
	}
	t, a, reason := s.hold.Address(ctx, p.workload.Addr())
	if reason != flow.None {
		return t, nil, reason
	}
	if svc := p.at(a); svc != nil {
		return t, svc, flow.None
	}
	return t, nil, flow.NoEndpoint // the workload has gone, and perhaps another one has its address
}

// now is service without waiting: nil when there is something to wait for, or to refuse.
func (s *Server) now(p *port) (*table.Table, *table.Service) {
	if !p.workload.IsValid() {
		return s.hold.Now(p.Service)
	}
	t, _ := s.hold.Now("")
	if t == nil {
		return nil, nil
	}
	if s.cfg.WantAddress != nil {
		if now, last := time.Now().Unix(), p.touched.Load(); now-last >= touchEvery && p.touched.CompareAndSwap(last, now) {
			s.cfg.WantAddress(p.workload.Addr())
		}
	}
	return t, p.at(t.Addresses[p.workload.Addr()])
}

// at is what the port leads to at an address, if that is still what it was.
func (p *port) at(a *table.Address) *table.Service {
	if svc := a.Port(p.workload.Port()); svc != nil && svc.Name == p.Service {
		return svc
	}
	return nil
}
