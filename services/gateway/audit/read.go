package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/listing"
)

// Reader says what of the log somebody may see.
type Reader struct {
	// Namespaces that they may see; none, with All: everything.
	Namespaces []string
	All        bool
}

// sees says whether every object of an event lies where the reader may look. What is about nothing that lies in a namespace is
// about the whole mesh.
func (r Reader) sees(e *adminpb.AuditEvent) bool {
	if r.All {
		return true
	}
	return len(e.GetObjects()) > 0 && !slices.ContainsFunc(e.GetObjects(), func(o *typepb.ObjectRef) bool {
		return !slices.Contains(r.Namespaces, o.GetNamespace())
	})
}

func (r Reader) wants(f *adminpb.AuditFilter, e *adminpb.AuditEvent) bool {
	at := e.GetTime().AsTime()
	about := func(is func(*typepb.ObjectRef) bool) bool { return slices.ContainsFunc(e.GetObjects(), is) }
	switch {
	case !r.sees(e):
	case f.GetSince() != nil && at.Before(f.GetSince().AsTime()):
	case f.GetUntil() != nil && !at.Before(f.GetUntil().AsTime()):
	case f.GetPrincipal() != "" && e.GetPrincipal() != f.GetPrincipal():
	case f.GetNamespace() != "" && !about(func(o *typepb.ObjectRef) bool { return o.GetNamespace() == f.GetNamespace() }):
	case f.GetKind() != "" && !about(func(o *typepb.ObjectRef) bool { return o.GetKind() == f.GetKind() }):
	case f.GetFailed() && e.GetCode() == "OK":
	default:
		return true
	}
	return false
}

// stored is an event with its key.
type stored struct {
	key   string
	event *adminpb.AuditEvent
}

// List reads a page of events, oldest first.
func (l *Log) List(ctx context.Context, r Reader, req *adminpb.ListAuditEventsRequest) (*adminpb.ListAuditEventsResponse, error) {
	if err := check(req.GetFilter()); err != nil {
		return nil, err
	}
	all, _, err := l.read(ctx, l.days(req.GetFilter()))
	if err != nil {
		return nil, err
	}
	query, err := proto.MarshalOptions{Deterministic: true}.Marshal(req.GetFilter())
	if err != nil {
		return nil, fmt.Errorf("encode the filter: %w", err)
	}
	page, next, err := listing.Cut(ctx, all, func(s stored) string { return s.key },
		func(s stored) (bool, error) { return r.wants(req.GetFilter(), s.event), nil },
		listing.Page{Size: req.GetPageSize(), Token: req.GetPageToken(), Query: []string{"AuditEvent", string(query)}, Epoch: l.deps.Store.Epoch})
	if err != nil {
		return nil, err
	}
	out := &adminpb.ListAuditEventsResponse{NextPageToken: next}
	for _, s := range page {
		out.Events = append(out.Events, s.event)
	}
	return out, nil
}

// Watch sends the wanted events of the past and then each new one, until ctx ends or a send fails. It calls begun once it can
// tell that it will.
func (l *Log) Watch(ctx context.Context, r Reader, f *adminpb.AuditFilter, begun func() error, send func(*adminpb.AuditEvent) error) error {
	if err := check(f); err != nil {
		return err
	}
	past := l.days(f)
	if f.GetSince() == nil { // nothing of it is wanted but the revision that it ends at
		past = []string{prefix + l.deps.Now().UTC().Format(day) + "/"}
	}
	all, revision, err := l.read(ctx, past)
	if err != nil {
		return err
	}
	if err := begun(); err != nil {
		return err
	}
	for _, s := range all {
		if f.GetSince() == nil || !r.wants(f, s.event) {
			continue
		}
		if err := send(s.event); err != nil {
			return err
		}
	}
	watch, err := l.deps.Store.Watch(ctx, prefix, revision)
	for err == nil {
		var batch kv.Batch
		if batch, err = watch.Next(); err != nil {
			break
		}
		for _, change := range batch.Events {
			if change.Deleted {
				continue
			}
			s, err := decode(change.Key, change.Value)
			if err != nil {
				return err
			}
			if !r.wants(f, s.event) {
				continue
			}
			if err := send(s.event); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fault.Wrap(fault.Unavailable, err, "the watch of the audit log was interrupted: watch again since the last event")
}

func check(f *adminpb.AuditFilter) error {
	var fields []fault.Field
	if f.GetSince() != nil && !f.GetSince().IsValid() {
		fields = append(fields, fault.Field{Path: "filter.since", Problem: "is not a time"})
	}
	if f.GetUntil() != nil && !f.GetUntil().IsValid() {
		fields = append(fields, fault.Field{Path: "filter.until", Problem: "is not a time"})
	}
	return fault.InvalidFields("request", fields)
}

// fewDays is how many days are read one by one rather than with all others.
const fewDays = 7

// read reads the events of some days, in order, and the revision that they end at.
func (l *Log) read(ctx context.Context, days []string) (all []stored, revision int64, err error) {
	for _, p := range days {
		entries, at, err := l.deps.Store.List(ctx, p)
		if err != nil {
			return nil, 0, storeFault(err)
		}
		if revision == 0 {
			revision = at // the oldest: a watch from there sees all that later reads saw too, once they are left out below
		}
		for _, e := range entries {
			if e.Revision > revision {
				continue
			}
			s, err := decode(e.Key, e.Value)
			if err != nil {
				return nil, 0, err
			}
			all = append(all, s)
		}
	}
	return all, revision, nil
}

// days are what keys of the days from since on begin with, with a day of slack for clocks that differ; or those of all.
func (l *Log) days(f *adminpb.AuditFilter) []string {
	now := l.deps.Now().UTC()
	since := f.GetSince().AsTime()
	if f.GetSince() == nil || now.Sub(since) > fewDays*24*time.Hour {
		return []string{prefix}
	}
	var out []string
	for d := since.Truncate(24 * time.Hour); !d.After(now.Add(24 * time.Hour)); d = d.Add(24 * time.Hour) {
		out = append(out, prefix+d.Format(day)+"/")
	}
	if len(out) == 0 { // since is in the future
		out = []string{prefix + now.Format(day) + "/"}
	}
	return out
}

func decode(key string, raw []byte) (stored, error) {
	e := &adminpb.AuditEvent{}
	if err := proto.Unmarshal(raw, e); err != nil {
		return stored{}, fmt.Errorf("decode audit event %q: %w", strings.TrimPrefix(key, prefix), err)
	}
	return stored{key: key, event: e}, nil
}

// storeFault makes what the store said into what the caller can do about it: try again.
func storeFault(err error) error {
	var known *fault.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fault.Wrap(fault.Unavailable, err, "read the audit log")
}
