package discovery

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/resource"
	"github.com/weft-mesh/weft/services/internal/rpc"
	"github.com/weft-mesh/weft/services/internal/state"
)

// originRegistration marks workloads that their own sidecars keep in step.
const originRegistration = "registration"

// Register keeps the caller's workload in the catalogue for as long as the stream lives.
func (s *server) Register(stream grpc.BidiStreamingServer[discoverypb.RegisterRequest, discoverypb.RegisterResponse]) error {
	ctx := stream.Context()
	r := registration{server: s, owner: rpc.CallerFrom(ctx).Account, stream: stream}
	defer func() { s.leases.release(r.session) }()
	requests := receive(stream)
	silence := time.NewTimer(s.cfg.Lease)
	defer silence.Stop()
	for {
		select {
		case in := <-requests:
			if errors.Is(in.err, io.EOF) {
				return nil
			}
			if in.err != nil {
				return in.err
			}
			if err := r.handle(ctx, in.request); err != nil {
				return err
			}
			silence.Reset(s.cfg.Lease)
		case <-silence.C:
			s.leases.silent(r.session)
			return fault.New(fault.Unavailable, "no heartbeat for %s; register again", s.cfg.Lease)
		case <-r.session.ended():
			return r.session.cause()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// received is one message or the end of the stream.
type received struct {
	request *discoverypb.RegisterRequest
	err     error
}

// receive reads the stream in the background; the end of the handler ends the stream and with it the reading.
func receive(stream grpc.BidiStreamingServer[discoverypb.RegisterRequest, discoverypb.RegisterResponse]) <-chan received {
	out := make(chan received)
	go func() {
		for {
			request, err := stream.Recv()
			select {
			case out <- received{request, err}:
			case <-stream.Context().Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}

// registration is one stream; it belongs to the handler's goroutine.
type registration struct {
	server  *server
	owner   spiffe.Account
	stream  grpc.BidiStreamingServer[discoverypb.RegisterRequest, discoverypb.RegisterResponse]
	session *session // nil until the first workload has been stored
}

func (r *registration) handle(ctx context.Context, request *discoverypb.RegisterRequest) error {
	switch kind := request.GetRequest().(type) {
	case *discoverypb.RegisterRequest_Workload:
		return r.workload(ctx, kind.Workload)
	case *discoverypb.RegisterRequest_Heartbeat:
		if r.session == nil {
			return invalid("request", "the first message must be workload")
		}
		return nil
	default:
		return invalid("request", "must be workload or heartbeat")
	}
}

func (r *registration) workload(ctx context.Context, p *discoverypb.Workload) error {
	s := r.server
	w, err := read(p, r.owner)
	if err != nil {
		return err
	}
	if r.session != nil && r.session.key != w.Key {
		return invalid("metadata.name", "one stream registers one workload; this one registered "+r.session.key.Name)
	}
	if err := s.admit(ctx, &w); err != nil {
		return err
	}
	w.LeaseHolder = s.deps.Replica
	written, err := s.store(ctx, w)
	if err != nil {
		return err
	}
	r.session = s.leases.hold(r.session, w.Key, written.Revision)
	revision, err := s.feed.Stamp(ctx, written.Revision)
	if err != nil {
		return err
	}
	return r.stream.Send(&discoverypb.RegisterResponse{
		Workload: modelpb.WorkloadToProto(written.Object), Revision: modelpb.RevisionToProto(revision),
		HeartbeatInterval: durationpb.New(s.cfg.Heartbeat), Lease: durationpb.New(s.cfg.Lease),
	})
}

// read takes from a registration what a sidecar may say, and its namespace and account from who it is.
func read(p *discoverypb.Workload, owner spiffe.Account) (model.Workload, error) {
	w, err := modelpb.WorkloadFromProto(p)
	if err != nil {
		return w, err
	}
	if ns := p.GetMetadata().GetNamespace(); ns != "" && ns != owner.Namespace {
		return w, fault.New(fault.Denied, "account %q may not register a workload in namespace %q, only in %q", owner, ns, owner.Namespace)
	}
	if w.Account != "" && w.Account != owner.Name {
		return w, fault.New(fault.Denied, "account %q may not register a workload of account %q, only its own", owner, w.Account)
	}
	w.Meta = model.Meta{Key: model.Key{Namespace: owner.Namespace, Name: w.Name}, Labels: w.Meta.Labels, Origin: originRegistration}
	w.Account = owner.Name
	if w.State != model.WorkloadDraining {
		w.State = model.WorkloadReady
	}
	return w, resource.Check(model.KindWorkload, w.Key, w.Validate())
}

// admit decides whether the workload may be an endpoint of the services that it names.
func (s *server) admit(ctx context.Context, w *model.Workload) error {
	for _, ref := range w.References() {
		service, err := s.services.Collection().Get(ctx, ref.Key)
		if fault.Is(err, fault.NotFound) {
			return fault.New(fault.Denied, "there is no service %q that would admit account %q; create it first", ref.Key, w.Account)
		}
		if err != nil {
			return err
		}
		if !service.Admits(w.Namespace, w.Account) {
			return fault.New(fault.Denied, "%s", notAdmitted(&service, w.Account))
		}
	}
	return nil
}

// store writes the workload if it is new or different. One that belongs to somebody else stays his.
func (s *server) store(ctx context.Context, w model.Workload) (state.Written[model.Workload], error) {
	c := s.workloads.Collection()
	for {
		written, err := c.Modify(ctx, w.Key, "", func(now model.Workload) (model.Workload, error) { return w, owned(&now, w.Account) })
		if !fault.Is(err, fault.NotFound) {
			return written, err
		}
		written, err = c.Create(ctx, w)
		if !fault.Is(err, fault.Exists) {
			return written, err
		}
	}
}

// owned says whether a stored workload is a registration of this account.
func owned(w *model.Workload, account string) error {
	switch {
	case w.Account != account:
		return fault.New(fault.Denied, "workload %q belongs to account %q, not to %q", w.Key, w.Account, account)
	case w.Origin != originRegistration:
		return fault.New(fault.Denied, "workload %q is kept by %s and not by a registration; choose another name", w.Key, origin(w.Origin))
	default:
		return nil
	}
}

func origin(o string) string {
	if o == "" {
		return "an administrator"
	}
	return o
}

// Deregister removes the caller's workload at once.
func (s *server) Deregister(ctx context.Context, req *discoverypb.DeregisterRequest) (*discoverypb.DeregisterResponse, error) {
	owner := rpc.CallerFrom(ctx).Account
	key := model.Key{Namespace: owner.Namespace, Name: req.GetName()}
	seq, err := s.workloads.Collection().Remove(ctx, key, "", func(w model.Workload) error { return owned(&w, owner.Name) })
	if err != nil {
		return nil, err
	}
	revision, err := s.feed.Stamp(ctx, seq)
	return &discoverypb.DeregisterResponse{Revision: modelpb.RevisionToProto(revision)}, err
}

func invalid(path, problem string) error {
	return fault.InvalidFields("registration", []fault.Field{{Path: path, Problem: problem}})
}
