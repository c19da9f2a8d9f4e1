package spiffe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// ErrNoSVID says that no SVID has been issued yet.
var ErrNoSVID = errors.New("no SVID yet")

// Material is one immutable state of an identity: an SVID with its key, and the bundle that peers are verified against.
type Material struct {
	// ID is the SVID's SPIFFE ID.
	ID spiffeid.ID
	// Certificate is leaf and intermediates with the private key; Leaf is set.
	Certificate tls.Certificate
	// Bundle holds the authorities of the trust domain.
	Bundle *x509bundle.Bundle
	// Generation grows with every change of the bundle; caches of verified chains are keyed by it.
	Generation uint64
}

// NotAfter is the end of validity of the leaf.
func (m *Material) NotAfter() time.Time { return m.Certificate.Leaf.NotAfter }

// Source holds the current Material. Reads are one atomic load. The zero value holds nothing.
type Source struct {
	current atomic.Pointer[Material]

	mu      sync.Mutex
	changed chan struct{} // closed and replaced on every Set; nil until somebody waits
}

// NewSource makes a source that already holds m, or nothing when m is nil.
func NewSource(m *Material) *Source {
	s := &Source{}
	if m != nil {
		s.current.Store(m)
	}
	return s
}

// Load returns the current material, or nil when there is none yet.
func (s *Source) Load() *Material { return s.current.Load() }

// Set replaces the material and wakes everyone who waits.
func (s *Source) Set(m *Material) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current.Store(m)
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// SetBundle replaces the bundle, keeping the SVID. It reports whether anything changed; without an SVID it does nothing.
func (s *Source) SetBundle(b *x509bundle.Bundle) bool {
	old := s.current.Load()
	if old == nil || old.Bundle.Equal(b) {
		return false
	}
	next := *old
	next.Bundle = b
	next.Generation++
	s.Set(&next)
	return true
}

// Changed returns a channel that is closed at the next Set.
func (s *Source) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// Wait blocks until there is material.
func (s *Source) Wait(ctx context.Context) (*Material, error) {
	for {
		changed := s.Changed()
		if m := s.Load(); m != nil {
			return m, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for SVID: %w", ctx.Err())
		}
	}
}

// Certificates parses DER certificates, naming the one that is broken.
func Certificates(der [][]byte) ([]*x509.Certificate, error) {
	certs := make([]*x509.Certificate, 0, len(der))
	for i, raw := range der {
		cert, err := x509.ParseCertificate(raw)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of %d: %w", i+1, len(der), err)
		}
		certs = append(certs, cert)
	}
	return certs, nil
}
