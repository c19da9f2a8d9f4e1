package inbound

import (
	"context"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/authz"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/identity"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// sweepEvery is how often idle connections to the program are looked at.
const sweepEvery = 5 * time.Second

// follow ends what the table or the bundle does not allow any more.
func (s *Server) follow(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	var generation uint64
	var access *table.Access
	mode := table.Strict
	for {
		tables, identity := s.cfg.Tables.Changed(), s.cfg.Identity.Changed()
		if t := s.cfg.Tables.Load(); t != nil && (t.Access != access || t.Mesh.MTLS != mode) {
			access, mode = t.Access, t.Mesh.MTLS
			s.engine.Recheck(func(peer spiffeid.ID, req flow.Request) bool { return permit(t, peer, req) })
			s.packets.Recheck(func(peer spiffeid.ID) flow.Reason { return judge(t, peer) })
		}
		if m := s.cfg.Identity.Load(); m != nil && m.Generation != generation {
			generation = m.Generation
			s.reverify()
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return nil
			case now := <-ticker.C:
				s.pool.Sweep(now)
			case <-tables:
				waiting = false
			case <-identity:
				waiting = false
			}
		}
	}
}

// judge is permit for a session of UDP.
func judge(t *table.Table, peer spiffeid.ID) flow.Reason {
	switch {
	case permit(t, peer, nil):
		return flow.None
	case peer.IsZero() && t.Mesh.MTLS == table.Strict:
		return flow.Plaintext
	}
	return flow.Denied
}

// permit says whether something under way would be let in now.
func permit(t *table.Table, peer spiffeid.ID, req flow.Request) bool {
	if peer.IsZero() && t.Mesh.MTLS == table.Strict {
		return false
	}
	_, ok := authz.Check(t.Access, peer, req)
	return ok
}

// reverify closes mesh connections of peers that the bundle does not vouch for any more.
func (s *Server) reverify() {
	s.mu.Lock()
	conns := make([]*identity.Conn, 0, len(s.mesh))
	for c := range s.mesh {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		if _, err := spiffe.PeerID(s.cfg.Identity, c.ConnectionState().PeerCertificates); err != nil {
			c.NetConn().Close() // without goodbye: the peer is nobody
		}
	}
}

func (s *Server) watch(c *identity.Conn) (unwatch func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mesh[c] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.mesh, c)
	}
}
