package identity

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/model"
)

// askEvery is the pause between two questions to the distributor.
const askEvery = 500 * time.Millisecond

// askTimeout bounds one question.
const askTimeout = 3 * time.Second

// Convergence says whether a revision of identity has reached the mesh.
type Convergence interface {
	// Applied says whether every affected, connected sidecar has applied the revision, and if not, what is waited for.
	Applied(ctx context.Context, r model.Revision) (ok bool, waitingFor string, err error)
}

// distribution holds back this replica's authority until everybody has its root: an SVID of a root that a peer lacks would
// be refused by that peer.
//
// The root that was published first in a store may sign at once: nobody can have been told of another one. Any later root
// waits until the distributor reports that the mesh has applied the bundle with it. When no distributor answers for the
// whole grace, the root is used without that proof: then nobody is there who could tell the sidecars, and refusing for ever
// would lose more. An answer that somebody lacks the root is waited for without an end.
type distribution struct {
	trust       *Trust
	convergence Convergence // nil when there is nobody to ask
	grace       time.Duration
	log         *zap.Logger

	mu   sync.Mutex
	open bool
	why  string
}

// check says why this replica may not sign for others yet, or nil.
func (d *distribution) check() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open {
		return nil
	}
	return fault.New(fault.Unavailable, "the authority of replica %q may not sign yet: %s; another replica may", d.trust.replica, d.why)
}

func (d *distribution) wait(why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if why != d.why {
		d.log.Info("authority waits for its root to be distributed", zap.String("waiting_for", why))
	}
	d.why = why
}

func (d *distribution) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = true
}

// run publishes the root, waits until it may sign, opens the gate, and then blocks until ctx ends.
func (d *distribution) run(ctx context.Context) error {
	retry := backoff.New(50*time.Millisecond, 2*time.Second)
	for {
		err := d.begin(ctx)
		if err == nil {
			break
		}
		d.wait("the store: " + err.Error())
		if retry.Wait(ctx) != nil {
			return nil
		}
	}
	<-ctx.Done()
	return nil
}

func (d *distribution) begin(ctx context.Context) error {
	if err := d.trust.Publish(ctx); err != nil {
		return err
	}
	set, _ := d.trust.current()
	own := jointoken.FingerprintOf(d.trust.authority.Roots()[0])
	key := ofFingerprint(collectionIssuers, own)
	_, err := d.trust.anchors.store.Get(ctx, key)
	switch {
	case err == nil:
		d.log.Info("authority signs: its root was distributed before", zap.Stringer("root", own))
		d.release()
		return nil
	case !errors.Is(err, kv.ErrNotFound):
		return err
	}
	how := "its root is the first of the store"
	if !set.has(own) || set.oldest() != own {
		if how, err = d.distributed(ctx, set.revision); err != nil {
			return err
		}
	}
	record := &identitypb.IssuerRecord{Replica: d.trust.replica, CreateTime: timestamppb.Now()}
	if _, err := writeRecord(ctx, d.trust.anchors.store, key, record, kv.IfAbsent()); err != nil && !errors.Is(err, kv.ErrConflict) {
		return err
	}
	d.log.Info("authority signs", zap.Stringer("root", own), zap.String("because", how))
	d.release()
	return nil
}

// distributed blocks until the mesh has applied a revision, or until nobody has answered for the grace.
func (d *distribution) distributed(ctx context.Context, target model.Revision) (how string, err error) {
	answered := time.Now()
	for {
		ok, waitingFor, err := d.ask(ctx, target)
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case err != nil && time.Since(answered) >= d.grace:
			d.log.Warn("no distributor answers; the authority signs without knowing who has its root", zap.Error(err))
			return "no distributor answered within the grace", nil
		case err != nil:
			d.wait("an answer of the distributor: " + err.Error())
		case ok:
			return "the mesh has applied its root", nil
		default:
			answered = time.Now()
			d.wait(waitingFor)
		}
		if err := backoff.Sleep(ctx, askEvery); err != nil {
			return "", err
		}
	}
}

func (d *distribution) ask(ctx context.Context, target model.Revision) (bool, string, error) {
	if d.convergence == nil {
		return false, "", errors.New("there is none")
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return d.convergence.Applied(ctx, target)
}
