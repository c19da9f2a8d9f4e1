package outbound

import (
	"errors"
	"net/netip"
	"sync"

	"github.com/weft-mesh/weft/proxy/internal/egress"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

var errTightened = errors.New("the mesh does not allow this destination any more")

// streams are the connections to the outside that are under way, so that they end when they are not allowed any more. The zero
// value is ready.
type streams struct {
	mu  sync.Mutex
	all map[*flow.Record]*stream
}

type stream struct {
	conn, up *wire.Conn
	to       netip.AddrPort // where the client wanted to go
	host     string         // what it named, if that led to the address; else empty
	cut      bool
}

// allowed says whether the connection would be let out by a policy.
func (s *stream) allowed(policy *table.Egress) bool {
	return egress.Address(policy, s.to).Allowed || s.host != "" && egress.Host(policy, s.host, s.to.Port()).Allowed
}

// relay moves bytes between a client and the outside until either ends, or a policy forbids it.
func (s *Server) relay(st *stream, rec *flow.Record) {
	s.streams.add(rec, st)
	s.streams.check(st, egress.Of(s.cfg.Tables.Load())) // it may have changed since it let the connection out
	s.engine.Stream(st.conn, st.up, rec, nil)
	s.streams.remove(rec)
}

// emit passes a record on; one of a connection that was cut says so.
func (s *Server) emit(rec *flow.Record) {
	if rec.Outside.IsValid() && s.streams.wasCut(rec) {
		rec.Reason, rec.Err = flow.Egress, errTightened
	}
	s.cfg.Emit(rec)
}

func (s *streams) add(rec *flow.Record, st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*flow.Record]*stream{}
	}
	s.all[rec] = st
}

func (s *streams) remove(rec *flow.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, rec)
}

func (s *streams) wasCut(rec *flow.Record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.all[rec]
	return st != nil && st.cut
}

// recheck ends what a policy does not allow.
func (s *streams) recheck(policy *table.Egress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.all {
		st.end(policy)
	}
}

// check is recheck for one.
func (s *streams) check(st *stream, policy *table.Egress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.end(policy)
}

// end cuts the connection unless it is allowed; the caller holds mu.
func (s *stream) end(policy *table.Egress) {
	if s.cut || s.allowed(policy) {
		return
	}
	s.cut = true
	_, _ = s.conn.Abort(), s.up.Abort() // fails only on a closed connection
}
