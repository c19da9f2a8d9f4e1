package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"slices"

	"github.com/weft-mesh/weft/internal/spiffe"
)

// ticketKey seals the session tickets of one material. There is one for each, so that no ticket outlives SVID or bundle; it is
// explicit, so that the next process of this sidecar can go on with it.
type ticketKey struct {
	material [sha256.Size]byte
	key      [32]byte
}

// fingerprint names a material by what a ticket depends on.
func fingerprint(m *spiffe.Material) (out [sha256.Size]byte) {
	h := sha256.New()
	for _, der := range m.Certificate.Certificate {
		h.Write(der)
	}
	var roots [][]byte
	for _, c := range m.Bundle.X509Authorities() {
		roots = append(roots, c.Raw)
	}
	slices.SortFunc(roots, bytes.Compare)
	for _, der := range roots {
		h.Write(der)
	}
	h.Sum(out[:0])
	return out
}

// ticketKeyFor makes the key of a material, or finds that of the process before this one.
func (s *Server) ticketKeyFor(m *spiffe.Material) ticketKey {
	k := ticketKey{material: fingerprint(m)}
	if old := s.inherited.Load(); old != nil && old.material == k.material {
		return *old
	}
	_, _ = rand.Read(k.key[:]) // never fails (crypto/rand)
	return k
}

// TicketKey is what the next process needs to take the tickets that this one has given out. It is a secret; nil: there is none.
func (s *Server) TicketKey() []byte {
	cfg := s.config()
	if cfg == nil {
		return nil
	}
	return slices.Concat(cfg.ticket.material[:], cfg.ticket.key[:])
}

// Inherit takes the key of the process before this one. It counts while the identity is still the same. Anything else than what
// TicketKey gave is left alone.
func (s *Server) Inherit(secret []byte) {
	k := &ticketKey{}
	if len(secret) != len(k.material)+len(k.key) {
		return
	}
	copy(k.material[:], secret)
	copy(k.key[:], secret[len(k.material):])
	s.inherited.Store(k)
}
