package identity

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/model"
)

// anchors is the set of authorities in the store.
type anchors struct {
	store kv.Store
	td    spiffeid.TrustDomain
	log   *zap.Logger
}

// anchorSet is that set at one revision; immutable.
type anchorSet struct {
	// bundle for verification.
	bundle *x509bundle.Bundle
	// roots in ascending order of their fingerprints.
	roots []anchor
	// revision of the last change.
	revision model.Revision
	// read is the revision of the store at which it was read.
	read int64
}

type anchor struct {
	fingerprint jointoken.Fingerprint
	cert        *x509.Certificate
	// created orders the roots by age, across all replicas.
	created int64
	record  *identitypb.RootRecord
	entry   kv.Entry
}

// has says whether a root is in the set.
func (s *anchorSet) has(f jointoken.Fingerprint) bool {
	return slices.ContainsFunc(s.roots, func(a anchor) bool { return a.fingerprint == f })
}

// oldest is the root that was published first. The set is not empty.
func (s *anchorSet) oldest() jointoken.Fingerprint {
	return slices.MinFunc(s.roots, func(a, b anchor) int { return int(a.created - b.created) }).fingerprint
}

// ofFingerprint is the key of a root's records.
func ofFingerprint(collection string, f jointoken.Fingerprint) string {
	return recordKey(collection, f.String())
}

// publish adds a root to the bundle of everybody. A root that is there already stays as it is.
func (a anchors) publish(ctx context.Context, root *x509.Certificate, replica string) error {
	f := jointoken.FingerprintOf(root)
	record := &identitypb.RootRecord{Certificate: root.Raw, Replica: replica, CreateTime: timestamppb.Now()}
	_, err := writeRecord(ctx, a.store, ofFingerprint(collectionRoots, f), record, kv.IfAbsent())
	if err != nil && !errors.Is(err, kv.ErrConflict) {
		return fmt.Errorf("publish root %s: %w", f, err)
	}
	return nil
}

// load reads the set as it is.
func (a anchors) load(ctx context.Context) (*anchorSet, error) {
	epoch, err := a.store.Epoch(ctx)
	if err != nil {
		return nil, fmt.Errorf("read roots: %w", err)
	}
	entries, read, err := a.store.List(ctx, collectionRoots)
	if err != nil {
		return nil, fmt.Errorf("read roots: %w", err)
	}
	set := &anchorSet{bundle: x509bundle.New(a.td), read: read, revision: model.Revision{Source: model.SourceIdentity, Epoch: epoch}}
	for _, entry := range entries {
		// Retired roots count too: their retirement was a change.
		set.revision.Seq = max(set.revision.Seq, uint64(entry.Revision))
		found, err := decodeAnchor(entry)
		if err != nil {
			a.log.Error("root in the store cannot be read and is left out", zap.String("key", entry.Key), zap.Error(err))
			continue
		}
		if found.cert != nil {
			set.roots = append(set.roots, found)
			set.bundle.AddX509Authority(found.cert)
		}
	}
	slices.SortFunc(set.roots, func(a, b anchor) int { return bytes.Compare(a.fingerprint[:], b.fingerprint[:]) })
	return set, nil
}

func decodeAnchor(entry kv.Entry) (anchor, error) {
	record := &identitypb.RootRecord{}
	if err := decodeRecord(entry, record); err != nil || record.GetRetired() {
		return anchor{}, err
	}
	cert, err := x509.ParseCertificate(record.GetCertificate())
	if err != nil {
		return anchor{}, fmt.Errorf("decode record %q: %w", entry.Key, err)
	}
	return anchor{fingerprint: jointoken.FingerprintOf(cert), cert: cert, created: entry.Created, record: record, entry: entry}, nil
}

// follow calls f with the set as it is and after every change, until ctx ends. A store that is away is waited for.
func (a anchors) follow(ctx context.Context, f func(*anchorSet)) error {
	wait := backoff.New(50*time.Millisecond, 2*time.Second)
	for ctx.Err() == nil {
		err := a.watch(ctx, func(set *anchorSet) {
			wait.Reset()
			f(set)
		})
		if ctx.Err() != nil || errors.Is(err, kv.ErrCompacted) {
			continue
		}
		a.log.Warn("watch of the roots broke off and is taken up again", zap.Error(err))
		if wait.Wait(ctx) != nil {
			break
		}
	}
	return nil
}

// watch is one turn of follow. There are few roots and they change in years, so that each change is a fresh read of all.
func (a anchors) watch(ctx context.Context, f func(*anchorSet)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	set, err := a.load(ctx)
	if err != nil {
		return err
	}
	watch, err := a.store.Watch(ctx, collectionRoots, set.read)
	if err != nil {
		return fmt.Errorf("watch roots: %w", err)
	}
	for {
		f(set)
		for known := true; known; {
			batch, err := watch.Next()
			if err != nil {
				return fmt.Errorf("watch roots: %w", err)
			}
			known = len(batch.Events) == 0 || batch.Revision <= set.read
		}
		if set, err = a.load(ctx); err != nil {
			return err
		}
	}
}
