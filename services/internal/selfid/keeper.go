package selfid

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/internal/lifecycle"
	"github.com/weft-mesh/weft/internal/spiffe"
)

// Retries of an issuer that does not answer.
const (
	retryBase  = 100 * time.Millisecond
	retryLimit = 5 * time.Second
)

// Config of a Keeper.
type Config struct {
	// Service whose SVID is kept.
	Service string
	// TrustDomain of the mesh.
	TrustDomain spiffeid.TrustDomain
	// Dir is where the SVID survives a restart; empty: nowhere, because the issuer is always there.
	Dir string
}

// Keeper keeps one service's SVID fresh.
type Keeper struct {
	cfg    Config
	id     spiffeid.ID
	issuer Issuer
	source *spiffe.Source
	log    *zap.Logger

	mu sync.Mutex // one change of the source at a time: a renewal and a new bundle may come at once
}

// New makes a keeper that fills source.
func New(cfg Config, issuer Issuer, source *spiffe.Source, log *zap.Logger) (*Keeper, error) {
	id, err := spiffe.ID(cfg.TrustDomain, spiffe.Account{Namespace: spiffe.SystemNamespace, Name: cfg.Service})
	if err != nil {
		return nil, err
	}
	return &Keeper{cfg: cfg, id: id, issuer: issuer, source: source, log: log}, nil
}

// Run fills the source, from the files or by the issuer, and keeps it filled until ctx ends. Failures are retried for ever.
func (k *Keeper) Run(ctx context.Context) error {
	if m := k.restore(); m != nil {
		k.source.Set(m)
	}
	var g lifecycle.Group
	g.Add("renewal", k.renew)
	g.Add("bundle", k.follow)
	return g.Run(ctx)
}

// renew asks for an SVID now when there is none, and then always at half of its life.
func (k *Keeper) renew(ctx context.Context) error {
	retry := backoff.New(retryBase, retryLimit)
	said := ""
	for {
		if m := k.source.Load(); m != nil {
			if err := backoff.Sleep(ctx, time.Until(halfLife(m))); err != nil {
				return nil //nolint:nilerr // ctx has ended, as is wanted
			}
		}
		for err := k.issue(ctx); err != nil; err = k.issue(ctx) {
			if ctx.Err() != nil {
				return nil
			}
			if text := err.Error(); text != said { // a failure that lasts is one line
				k.log.Warn("own SVID not issued; trying on", zap.Error(err), zap.Time("svid_ends", k.ends()))
				said = text
			}
			if retry.Wait(ctx) != nil {
				return nil
			}
		}
		said = ""
		retry.Reset()
	}
}

// ends is when the current SVID does; zero without one.
func (k *Keeper) ends() time.Time {
	if m := k.source.Load(); m != nil {
		return m.NotAfter()
	}
	return time.Time{}
}

// halfLife is when to renew, up to a tenth of the life earlier, so that what started together does not renew together.
func halfLife(m *spiffe.Material) time.Time {
	leaf := m.Certificate.Leaf
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	if life <= 0 {
		return leaf.NotBefore
	}
	return leaf.NotBefore.Add(life/2 - mathrand.N(life/10+1))
}

func (k *Keeper) issue(ctx context.Context) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return fmt.Errorf("make CSR: %w", err)
	}
	issued, err := k.issuer.Issue(ctx, k.cfg.Service, csr)
	if err != nil {
		return err
	}
	m, err := k.material(issued.Certificates, key, issued.Bundle)
	if err != nil {
		return fmt.Errorf("issued SVID: %w", err)
	}
	k.set(m)
	k.log.Info("own SVID issued", zap.Stringer("spiffe_id", m.ID), zap.Time("expires_at", m.NotAfter()))
	return nil
}

// material checks that an SVID is this service's, valid now, and of this key, and puts it together.
func (k *Keeper) material(chain []*x509.Certificate, key *ecdsa.PrivateKey, bundle *x509bundle.Bundle) (*spiffe.Material, error) {
	if len(chain) == 0 {
		return nil, errors.New("it has no certificate")
	}
	if bundle.TrustDomain() != k.cfg.TrustDomain {
		return nil, fmt.Errorf("bundle is of trust domain %q, expected %q", bundle.TrustDomain(), k.cfg.TrustDomain)
	}
	id, _, err := x509svid.Verify(chain, bundle)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	if id != k.id {
		return nil, fmt.Errorf("it is %q, expected %q", id, k.id)
	}
	if !key.PublicKey.Equal(chain[0].PublicKey) {
		return nil, errors.New("it is for another key")
	}
	cert := tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, c := range chain {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return &spiffe.Material{ID: id, Certificate: cert, Bundle: bundle, Generation: 1}, nil
}

// set makes material current. Its generation goes on from the one before.
func (k *Keeper) set(m *spiffe.Material) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if old := k.source.Load(); old != nil {
		m.Generation = old.Generation
		if !old.Bundle.Equal(m.Bundle) {
			m.Generation++
		}
	}
	k.source.Set(m)
	k.save(m)
}

// follow takes over every new bundle. Before there is an SVID it waits: the first bundle comes with that.
func (k *Keeper) follow(ctx context.Context) error {
	retry := backoff.New(retryBase, retryLimit)
	for {
		if _, err := k.source.Wait(ctx); err != nil {
			return nil //nolint:nilerr // ctx has ended, as is wanted
		}
		err := k.issuer.Bundles(ctx, func(b *x509bundle.Bundle) {
			retry.Reset()
			k.setBundle(b)
		})
		if ctx.Err() != nil {
			return nil
		}
		k.log.Debug("bundle watch ended; trying on", zap.Error(err))
		if retry.Wait(ctx) != nil {
			return nil
		}
	}
}

func (k *Keeper) setBundle(b *x509bundle.Bundle) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if b.TrustDomain() != k.cfg.TrustDomain || len(b.X509Authorities()) == 0 {
		k.log.Error("bundle refused", zap.Stringer("trust_domain", b.TrustDomain()), zap.Int("authorities", len(b.X509Authorities())))
		return
	}
	if k.source.SetBundle(b) {
		k.log.Info("trust bundle changed", zap.Int("authorities", len(b.X509Authorities())))
		k.save(k.source.Load())
	}
}
