package svid

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/zap"

	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/proxy/internal/statedir"
	"github.com/weft-mesh/weft/proxy/internal/uplink"
)

// identityService is the account of the service that issues SVIDs.
const identityService = "identity"

// leastPause is between two renewals, whatever the identity service says of the time of the next one.
const leastPause = time.Second

// Config says who this sidecar is and how it may prove it.
type Config struct {
	// Namespace and Workload of the sidecar.
	Namespace, Workload string
	// TokenText is the join token; empty: only what is stored is used.
	TokenText string
	// Addresses override, list by list, those of the token or of the state directory.
	Addresses jointoken.Addresses
}

// Manager keeps one identity.
type Manager struct {
	cfg    Config
	dir    *statedir.Dir
	log    *zap.Logger
	td     spiffeid.TrustDomain
	token  *jointoken.Token // still to be redeemed; nil when not
	stamp  Stamp
	source *spiffe.Source
	pause  time.Duration // least time between two renewals

	mu       sync.Mutex // guards the source's writers and what follows
	revision *typepb.SourceRevision
	renewAt  time.Time
}

// Open decides what the identity starts from. A token that has not been redeemed yet wins over what is stored, since it may be
// for another account; the one that was redeemed last is spent, and what is stored is used. Without a token, what is stored
// must be good.
func Open(cfg Config, dir *statedir.Dir, log *zap.Logger) (*Manager, error) {
	m := &Manager{cfg: cfg, dir: dir, log: log, source: &spiffe.Source{}, pause: leastPause}
	stamp, stampErr := readStamp(dir, cfg.Namespace, cfg.Workload)
	m.stamp = stamp
	if cfg.TokenText != "" {
		token, err := jointoken.Decode(cfg.TokenText)
		if err != nil {
			return nil, err
		}
		if stampErr != nil || stamp.TokenID != token.ID {
			return m, m.useToken(token, stampErr)
		}
	}
	if stampErr != nil {
		return nil, refused(dir, stampErr)
	}
	if err := m.useStored(); err != nil {
		return nil, refused(dir, err)
	}
	return m, nil
}

func (m *Manager) useToken(token jointoken.Token, stampErr error) error {
	if stampErr != nil && !errors.Is(stampErr, ErrNothing) {
		m.log.Warn("stored identity is not used; the join token gets another one", zap.Error(stampErr))
	}
	if token.Expired(time.Now()) {
		return fmt.Errorf("%s has expired: get a new one with `weft token join`", token)
	}
	td, err := spiffeid.TrustDomainFromString(token.TrustDomain)
	if err != nil {
		return fmt.Errorf("trust domain of %s: %w", token, err)
	}
	m.td, m.token = td, &token
	m.stamp = Stamp{TrustDomain: td.Name(), Namespace: m.cfg.Namespace, Workload: m.cfg.Workload, TokenID: token.ID, Addresses: token.Addresses}
	m.override()
	return nil
}

func (m *Manager) useStored() error {
	td, err := spiffeid.TrustDomainFromString(m.stamp.TrustDomain)
	if err != nil {
		return fmt.Errorf("%w: %s: trust domain: %w", ErrCorrupt, statedir.Stamp, err)
	}
	m.td = td
	m.override()
	material, err := load(m.dir, td, m.cfg.Namespace, time.Now())
	if err != nil {
		return err
	}
	if id := material.ID.String(); m.stamp.SPIFFEID != "" && m.stamp.SPIFFEID != id {
		return fmt.Errorf("%w: %s is %q, %s is of %q", ErrForeign, statedir.Certificate, id, statedir.Stamp, m.stamp.SPIFFEID)
	}
	m.renewAt = halfLife(material)
	m.source.Set(material)
	m.log.Info("identity restored", zap.Stringer("spiffe_id", material.ID), zap.Time("not_after", material.NotAfter()))
	return nil
}

func (m *Manager) override() {
	for _, list := range []struct{ to, from *[]string }{
		{&m.stamp.Addresses.Identity, &m.cfg.Addresses.Identity},
		{&m.stamp.Addresses.Discovery, &m.cfg.Addresses.Discovery},
		{&m.stamp.Addresses.Distributor, &m.cfg.Addresses.Distributor},
		{&m.stamp.Addresses.Telemetry, &m.cfg.Addresses.Telemetry},
	} {
		if len(*list.from) > 0 {
			*list.to = *list.from
		}
	}
}

// Source is where the identity appears, and changes.
func (m *Manager) Source() *spiffe.Source { return m.source }

// TrustDomain of the sidecar.
func (m *Manager) TrustDomain() spiffeid.TrustDomain { return m.td }

// Addresses of the control plane.
func (m *Manager) Addresses() jointoken.Addresses { return m.stamp.Addresses }

// Expiry is the end of validity of the current SVID; zero without one.
func (m *Manager) Expiry() time.Time {
	if material := m.source.Load(); material != nil {
		return material.NotAfter()
	}
	return time.Time{}
}

// SetBundle takes a trust bundle of the given revision of identity (nil: not known), unless it is older than the one held.
func (m *Manager) SetBundle(bundle *x509bundle.Bundle, revision *typepb.SourceRevision) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if older(revision, m.revision) {
		return
	}
	if revision != nil {
		m.revision = revision
	}
	if !m.source.SetBundle(bundle) {
		return
	}
	m.log.Info("trust bundle changed", zap.Int("authorities", len(bundle.X509Authorities())))
	// After a handover the process that has the directory saves it.
	if err := saveBundle(m.dir, bundle); err != nil && !errors.Is(err, statedir.ErrReleased) {
		m.log.Error("cannot save trust bundle", zap.Error(err))
	}
}

func older(a, b *typepb.SourceRevision) bool {
	return a != nil && b != nil && a.GetEpoch() == b.GetEpoch() && a.GetSeq() < b.GetSeq()
}

func newest(a, b *typepb.SourceRevision) *typepb.SourceRevision {
	if b == nil || older(b, a) {
		return a
	}
	return b
}

// Run redeems the token if there is one and then renews the SVID until ctx ends. A token that is refused is an error: waiting
// would not mend it.
func (m *Manager) Run(ctx context.Context) error {
	if m.token != nil {
		if err := m.redeem(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
	connect, err := uplink.SPIFFE(m.source, m.td, identityService)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		m.watch(ctx)
	}()
	defer func() { cancel(); <-watched }()
	for {
		m.mu.Lock()
		wait := time.Until(m.renewAt)
		m.mu.Unlock()
		if backoff.Sleep(ctx, max(wait, m.pause)) != nil {
			return nil
		}
		if err := m.issue(ctx, connect, ""); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

func (m *Manager) redeem(ctx context.Context) error {
	config, err := jointoken.TLS(*m.token, m.td, identityService)
	if err != nil {
		return err
	}
	if err := m.issue(ctx, uplink.TLS(config), m.cfg.TokenText); err != nil || ctx.Err() != nil {
		return err
	}
	m.token = nil
	return nil
}

// halfLife is when an SVID is renewed whose issuer said nothing about it.
func halfLife(m *spiffe.Material) time.Time {
	leaf := m.Certificate.Leaf
	return leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)
}
