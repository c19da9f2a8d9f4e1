package identity

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/services/identity/ca"
	"github.com/weft-mesh/weft/services/internal/kv"
)

// Trust is this replica's authority together with the roots of all replicas. The process's own issuer and the service share
// one. It is safe for concurrent use.
type Trust struct {
	td        spiffeid.TrustDomain
	authority ca.Authority
	anchors   anchors
	replica   string
	ttl       time.Duration

	mu      sync.Mutex
	set     *anchorSet    // the newest that was seen; nil before the first
	changed chan struct{} // closed and replaced when set changes
}

// TrustConfig is what a Trust is made of.
type TrustConfig struct {
	TrustDomain spiffeid.TrustDomain
	// Authority of this replica.
	Authority ca.Authority
	// Store is identity's own part of the store.
	Store kv.Store
	// Replica is the unique name of this process.
	Replica string
	// TTL of the SVIDs.
	TTL time.Duration
	Log *zap.Logger
}

// NewTrust makes a Trust. It reads nothing yet.
func NewTrust(cfg TrustConfig) *Trust {
	return &Trust{
		td:        cfg.TrustDomain,
		authority: cfg.Authority,
		anchors:   anchors{store: cfg.Store, td: cfg.TrustDomain, log: cfg.Log},
		replica:   cfg.Replica,
		ttl:       cfg.TTL,
		changed:   make(chan struct{}),
	}
}

// Publish puts this replica's roots into the bundle, unless they are there, and reads the bundle.
func (t *Trust) Publish(ctx context.Context) error {
	for _, root := range t.authority.Roots() {
		if err := t.anchors.publish(ctx, root, t.replica); err != nil {
			return err
		}
	}
	set, err := t.anchors.load(ctx)
	if err != nil {
		return err
	}
	t.learn(set)
	return nil
}

// Run keeps the bundle in step with the store until ctx ends, and puts this replica's roots back when the store has lost
// them: it was restored from a time before them.
func (t *Trust) Run(ctx context.Context) error {
	return t.anchors.follow(ctx, func(set *anchorSet) {
		t.learn(set)
		if t.published(set) {
			return
		}
		t.anchors.log.Warn("own root is not in the store and is published again")
		if err := t.Publish(ctx); err != nil {
			t.anchors.log.Error("own root cannot be published", zap.Error(err))
		}
	})
}

func (t *Trust) published(set *anchorSet) bool {
	for _, root := range t.authority.Roots() {
		if !set.has(jointoken.FingerprintOf(root)) && time.Now().Before(root.NotAfter) {
			return false
		}
	}
	return true
}

// learn keeps the newer of two sets: Publish and Run may read in either order.
func (t *Trust) learn(set *anchorSet) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.set != nil && t.set.revision.Epoch == set.revision.Epoch && t.set.revision.Seq >= set.revision.Seq {
		return
	}
	t.set = set
	close(t.changed)
	t.changed = make(chan struct{})
}

// current returns the newest set, nil when none was read yet, and a channel that is closed when there is a newer one.
func (t *Trust) current() (*anchorSet, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.set, t.changed
}

// sign makes an SVID for an account.
func (t *Trust) sign(ctx context.Context, account spiffe.Account, key crypto.PublicKey) (spiffeid.ID, []*x509.Certificate, error) {
	id, err := spiffe.ID(t.td, account)
	if err != nil {
		return spiffeid.ID{}, nil, err
	}
	chain, err := t.authority.Sign(ctx, ca.Request{ID: id, DNSNames: hostNames(t.td, account), PublicKey: key, TTL: t.ttl})
	if err != nil {
		return spiffeid.ID{}, nil, fmt.Errorf("issue SVID: %w", err)
	}
	return id, chain, nil
}

// hostNames lets clients without SPIFFE (curl, browsers, gRPC of most languages) verify the control plane by a host name,
// "gateway.weft-system.<trust domain>". Workloads have none: nobody is to be trusted because of a name that DNS could be asked for.
func hostNames(td spiffeid.TrustDomain, account spiffe.Account) []string {
	if account.Namespace != spiffe.SystemNamespace {
		return nil
	}
	return []string{account.Name + "." + spiffe.SystemNamespace + "." + td.Name()}
}
