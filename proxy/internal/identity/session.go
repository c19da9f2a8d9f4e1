package identity

import (
	"container/list"
	"crypto/tls"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/spiffe"
)

// maxSessions bounds the tickets that a dialer keeps.
const maxSessions = 1024

// pair is whom a ticket connects: a ticket is never used for another own or expected identity, nor at another place.
type pair struct {
	endpoint string
	own      spiffeid.ID
	peer     spiffeid.ID
	alpn     string
}

// sessions holds the newest ticket of each pair. A ticket ends with the material that it was made under, and with the
// peer's leaf: resumption skips the exchange of certificates, not their validity.
type sessions struct {
	mu      sync.Mutex
	entries map[pair]*list.Element
	recent  *list.List // of *session, the newest first
}

type session struct {
	pair     pair
	material *spiffe.Material
	notAfter time.Time
	state    *tls.ClientSessionState
}

func newSessions() *sessions {
	return &sessions{entries: map[pair]*list.Element{}, recent: list.New()}
}

// handle is the tls.ClientSessionCache of one dial.
type handle struct {
	store    *sessions
	pair     pair
	material *spiffe.Material
	notAfter time.Time // of the peer's leaf, set while the handshake verifies it
}

// Get returns the pair's ticket when it is still good.
func (h *handle) Get(string) (*tls.ClientSessionState, bool) {
	s := h.store
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[h.pair]
	if e == nil {
		return nil, false
	}
	have := e.Value.(*session)
	if have.material != h.material || !time.Now().Before(have.notAfter) {
		s.remove(e)
		return nil, false
	}
	return have.state, true
}

// Put keeps a ticket, or forgets it when state is nil.
func (h *handle) Put(_ string, state *tls.ClientSessionState) {
	s := h.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[h.pair]; e != nil {
		s.remove(e)
	}
	if state == nil {
		return
	}
	s.entries[h.pair] = s.recent.PushFront(&session{pair: h.pair, material: h.material, notAfter: h.notAfter, state: state})
	if s.recent.Len() > maxSessions {
		s.remove(s.recent.Back())
	}
}

// remove forgets one entry; the caller holds mu.
func (s *sessions) remove(e *list.Element) {
	delete(s.entries, e.Value.(*session).pair)
	s.recent.Remove(e)
}
