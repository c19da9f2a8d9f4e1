package discovery

import (
	"context"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
)

// keepService makes the stored service what the file says.
func (s *static) keepService(ctx context.Context, want model.Service, from string) error {
	want.Meta = model.Meta{Key: want.Key, Labels: want.Meta.Labels, Origin: from}
	c := s.server.services.Collection()
	_, err := c.Modify(ctx, want.Key, "", func(now model.Service) (model.Service, error) {
		next := want
		if err := kept(model.KindService, now.Meta, from); err != nil {
			return next, err
		}
		return next, s.server.prepareService(ctx, &next, &now, false)
	})
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	if err := s.server.prepareService(ctx, &want, nil, false); err != nil {
		return err
	}
	_, err = c.Create(ctx, want)
	return err
}

// keepWorkload makes the stored workload what the file says. It has no lease: it is there for as long as the file says so.
func (s *static) keepWorkload(ctx context.Context, want model.Workload, from string) error {
	want.Meta = model.Meta{Key: want.Key, Labels: want.Meta.Labels, Origin: from}
	want.State, want.LeaseHolder, want.AdminAddress = model.WorkloadReady, "", ""
	c := s.server.workloads.Collection()
	_, err := c.Modify(ctx, want.Key, "", func(now model.Workload) (model.Workload, error) {
		return want, kept(model.KindWorkload, now.Meta, from)
	})
	if !fault.Is(err, fault.NotFound) {
		return err
	}
	_, err = c.Create(ctx, want)
	return err
}

// kept says whether a stored object is this file's.
func kept(kind string, now model.Meta, from string) error {
	if now.Origin == from {
		return nil
	}
	return fault.New(fault.Conflict, "%s %q is kept by %s and stays as it is; remove it there or here", kind, now.Key, origin(now.Origin))
}

func (s *static) removeService(ctx context.Context, meta model.Meta) error {
	done := func(context.Context) {}
	_, err := s.server.services.Collection().Remove(ctx, meta.Key, meta.Etag, func(now model.Service) (err error) {
		done, err = s.server.removingService(ctx, &now)
		return err
	})
	if err == nil {
		done(ctx)
	}
	return gone(err)
}

func (s *static) removeWorkload(ctx context.Context, meta model.Meta) error {
	_, err := s.server.workloads.Collection().Delete(ctx, meta.Key, meta.Etag)
	return gone(err)
}

// gone takes an object that somebody else removed for removed.
func gone(err error) error {
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}
