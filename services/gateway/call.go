package gateway

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/services/gateway/access"
	"github.com/weft-mesh/weft/services/gateway/repeat"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// call is one call on its way through the gateway; each step fills in what it finds out.
type call struct {
	name   string
	method method
	origin origin
	began  time.Time

	who     access.Principal
	known   bool // who has been found out
	request proto.Message
	objects []access.Object
	// dry says that the request asks for a judgement only.
	dry bool
	// response is the encoded answer; of calls that change something only.
	response []byte
	// repeated says that the answer is that of an earlier call.
	repeated bool
}

// exchange is how a call's request is read and its answer given, which differs between unary calls and streams.
type exchange interface {
	// read reads the request.
	read(m method) (proto.Message, error)
	// carryOut lets the call happen and returns the encoded answer, when keep asks for it.
	carryOut(ctx context.Context, keep bool) ([]byte, error)
	// replay gives an answer that was kept.
	replay(m method, response []byte) error
}

// admit is the one way through: who calls, may they, what came of it. Every call that changes something, and every one that is
// not allowed, is audited.
func (s *Service) admit(ctx context.Context, name string, from origin, x exchange) (err error) {
	c := &call{name: name, method: s.proxy.methods[name], origin: from, began: time.Now()}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if c.method.stream { // it has no end of its own; other calls may finish
		defer context.AfterFunc(s.draining, func() { cancel(errDraining) })()
	}
	defer func() {
		if r := recover(); r != nil {
			s.deps.Log.Error("rpc handler panicked", zap.String("method", name), zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
			err = fault.New(fault.Internal, "internal error, see the log")
		}
		if cause := (*fault.Error)(nil); err != nil && errors.As(context.Cause(ctx), &cause) { // the stream was ended, and this is why
			err = cause
		}
		st := rpc.StatusOf(err)
		err = st.Err()
		s.calls.done(s.label(name), st.Code(), time.Since(c.began))
		s.audit(ctx, c, st)
	}()
	leave, err := s.limits.Enter()
	if err != nil {
		return err
	}
	defer leave()
	if public(name) {
		if err := s.limits.Call("address " + from.address); err != nil {
			return err
		}
		_, err := x.carryOut(ctx, false)
		return err
	}
	if err := s.identify(ctx, c); err != nil {
		return err
	}
	if err := s.permit(c, x); err != nil {
		return err
	}
	namespaces, _ := c.who.Namespaces()
	if c.method.rule.Where == access.Shared {
		namespaces = nil
	}
	ctx = rpc.WithPrincipal(withCall(ctx, c), c.who.ID, namespaces)
	if c.method.stream {
		watched, stop := context.WithCancel(ctx)
		defer stop()
		go s.recheck(watched, *c, cancel)
	}
	return s.carryOut(ctx, c, x)
}

// identify finds out who calls, unless they call too often. An address from which somebody guesses keeps those out whom nobody
// has confirmed lately, and nobody else.
func (s *Service) identify(ctx context.Context, c *call) error {
	if err := s.limits.Guessing(c.origin.address); err != nil && !s.auth.Known(c.origin.presented) {
		return err
	}
	who, err := s.auth.Authenticate(ctx, c.origin.presented, !c.method.writes)
	if err != nil {
		if fault.Is(err, fault.Anonymous) {
			s.limits.Failed(c.origin.address)
		}
		return err
	}
	c.who, c.known = who, true
	return s.limits.Call(who.Credential.String() + " " + who.ID)
}

// permit reads the request and judges whether the caller may make it.
func (s *Service) permit(c *call, x exchange) (err error) {
	if c.method.input == nil {
		return status.Errorf(codes.Unimplemented, "the gateway does not offer %s", c.name)
	}
	if c.request, err = x.read(c.method); err != nil {
		return err
	}
	if flag(c.request, "local_only") && c.who.Everywhere() == model.RoleNone { // one replica's raw answer cannot be trimmed
		return fault.New(fault.Denied, "%s may not set local_only: it needs role viewer in every namespace", c.who)
	}
	c.dry = flag(c.request, "validate_only") || flag(c.request, "dry_run")
	if c.objects, err = c.method.rule.Objects(c.request); err != nil {
		if denied := (access.Rule{Role: c.method.rule.Role, Where: access.Somewhere}).Judge(c.who, c.name, nil); denied != nil {
			return denied
		}
		return err
	}
	return c.method.rule.Judge(c.who, c.name, c.objects)
}

// flag reads a boolean field of a message; false when there is none.
func flag(m proto.Message, name protoreflect.Name) bool {
	f := m.ProtoReflect().Descriptor().Fields().ByName(name)
	return f != nil && f.Kind() == protoreflect.BoolKind && m.ProtoReflect().Get(f).Bool()
}

// writeLimit bounds a call that changes something whose caller set no deadline: an Apply of many objects takes the longest.
const writeLimit = 2 * time.Minute

// carryOut lets the call happen, or gives the answer of an earlier call with the same idempotency key.
func (s *Service) carryOut(ctx context.Context, c *call, x exchange) error {
	if !c.method.writes {
		_, err := x.carryOut(ctx, false)
		return err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, writeLimit)
		defer cancel()
	}
	if c.origin.repeatKey == "" || c.dry {
		var err error
		c.response, err = x.carryOut(ctx, true)
		return err
	}
	request, err := proto.MarshalOptions{Deterministic: true}.Marshal(c.request)
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	answer, run, err := s.repeats.Begin(ctx, repeat.Call{
		Caller: c.who.Credential.String() + " " + c.who.ID, Key: c.origin.repeatKey, Method: c.name, Request: request, Deadline: deadline,
	})
	switch {
	case err != nil:
		return err
	case answer != nil:
		c.repeated, c.response = true, answer.Response
		if answer.Err != nil {
			return answer.Err
		}
		return x.replay(c.method, answer.Response)
	}
	finished := false
	defer func() {
		if !finished { // it panicked: nobody knows what happened
			run.Finish(ctx, nil, status.New(codes.Internal, "panicked"), c.method.secret)
		}
	}()
	c.response, err = x.carryOut(ctx, true)
	run.Finish(ctx, c.response, rpc.StatusOf(err), c.method.secret)
	finished = true
	return err
}

// recheck ends a stream whose caller has lost what let them open it: it would go on for as long as they like. It runs until
// the stream has ended.
func (s *Service) recheck(ctx context.Context, c call, end context.CancelCauseFunc) {
	for backoff.Sleep(ctx, s.every) == nil {
		who, err := s.auth.Authenticate(ctx, c.origin.presented, true)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && who.Same(c.who):
			continue
		case err == nil:
			err = fault.New(fault.Unavailable, "the roles of %s have changed: call again", who)
		}
		end(err)
		return
	}
}

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// callerOf is who makes the call that a context belongs to.
func callerOf(ctx context.Context) access.Principal {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c.who
	}
	return access.Principal{}
}
