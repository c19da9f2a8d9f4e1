package testca

import (
	"crypto/x509"
	"net/url"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
)

// Option changes one thing of an SVID, most often to make it one that must be refused.
type Option func(tb testing.TB, o *options)

type options struct {
	leaf     *x509.Certificate
	bundle   *x509bundle.Bundle
	withRoot bool
}

// Expired makes the SVID's validity end an hour ago.
func Expired() Option {
	return func(_ testing.TB, o *options) { o.leaf.NotAfter = time.Now().Add(-time.Hour) }
}

// NotYetValid makes the SVID's validity begin in an hour.
func NotYetValid() Option {
	return func(_ testing.TB, o *options) { o.leaf.NotBefore = time.Now().Add(time.Hour) }
}

// ValidFor makes the SVID end after d, for tests of renewal.
func ValidFor(d time.Duration) Option {
	return func(_ testing.TB, o *options) {
		o.leaf.NotBefore = time.Now()
		o.leaf.NotAfter = o.leaf.NotBefore.Add(d)
	}
}

// WithURIs replaces the URI SANs: none, several, or a wrong one. Material.ID stays the account's.
func WithURIs(uris ...string) Option {
	return func(tb testing.TB, o *options) {
		tb.Helper()
		o.leaf.URIs = nil
		for _, text := range uris {
			u, err := url.Parse(text)
			if err != nil {
				tb.Fatalf("URI %q: %v", text, err)
			}
			o.leaf.URIs = append(o.leaf.URIs, u)
		}
	}
}

// AsCA makes the leaf a CA certificate, which no SVID may be.
func AsCA() Option {
	return func(_ testing.TB, o *options) { o.leaf.IsCA = true }
}

// WithKeyUsage replaces the key usage.
func WithKeyUsage(u x509.KeyUsage) Option {
	return func(_ testing.TB, o *options) { o.leaf.KeyUsage = u }
}

// WithBundle replaces the bundle that the holder verifies its peers against: the union of two CAs, or a foreign one.
func WithBundle(b *x509bundle.Bundle) Option {
	return func(_ testing.TB, o *options) { o.bundle = b.Clone() }
}

// Trusting adds the roots of other authorities to the holder's bundle.
func Trusting(others ...*CA) Option {
	return func(_ testing.TB, o *options) {
		for _, c := range others {
			o.bundle.AddX509Authority(c.root)
		}
	}
}

// WithRoot appends the root to the chain that is presented, as the identity service does.
func WithRoot() Option {
	return func(_ testing.TB, o *options) { o.withRoot = true }
}
