package fanout

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/durationpb"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// Stream serves one sidecar; it is ConfigService.Stream.
func (h *Hub) Stream(ss configpb.ConfigService_StreamServer) error {
	ctx := ss.Context()
	if err := h.admit.Wait(ctx); err != nil {
		return fault.Wrap(fault.Unavailable, err, "too many streams at once")
	}
	rx := newReceiver(ss)
	open, err := h.firstRequest(ctx, rx)
	if err != nil {
		return err
	}
	s, err := h.newSession(rpc.CallerFrom(ctx), open)
	if err != nil {
		return err
	}
	if err := h.waitState(ctx, s); err != nil {
		return err
	}
	if err := h.add(ctx, s); err != nil {
		return err
	}
	defer h.remove(s)
	h.deps.Observer.StreamsOpen(1)
	defer h.deps.Observer.StreamsOpen(-1)
	// A logger of its own would cost each stream more than its name does.
	h.deps.Log.Debug("stream is open", zap.Stringer("workload", s.key))
	go rx.serve(s)
	err = s.run(ctx, ss)
	h.deps.Log.Debug("stream has ended", zap.Stringer("workload", s.key), zap.Error(err))
	return err
}

// firstRequest waits for `open`, but not for ever.
func (h *Hub) firstRequest(ctx context.Context, rx *receiver) (*configpb.Open, error) {
	first := make(chan error, 1)
	var request *configpb.StreamRequest
	go func() {
		var err error
		request, err = rx.recv()
		first <- err
	}()
	timer := time.NewTimer(h.cfg.OpenWait)
	defer timer.Stop()
	select {
	case err := <-first:
		if err != nil {
			return nil, err
		}
	case <-timer.C:
		return nil, fault.New(fault.Invalid, "no `open` within %s", h.cfg.OpenWait)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if request.GetOpen() == nil {
		return nil, fault.New(fault.Invalid, "the first request must be `open`")
	}
	return request.GetOpen(), nil
}

// newSession checks who opens for what.
func (h *Hub) newSession(caller rpc.Caller, open *configpb.Open) (*session, error) {
	key := modelpb.Key(open.GetNamespace(), open.GetWorkload())
	account := compile.Account(caller.Account)
	if key.Name == "" || strings.Contains(key.Name, "/") {
		return nil, fault.New(fault.Invalid, "open.workload: %q is not the name of a workload", key.Name)
	}
	if key.Namespace != account.Namespace {
		return nil, fault.New(fault.Denied, "workload %q is in namespace %q; the caller %q may only ask for workloads of its own", key, key.Namespace, caller.Account)
	}
	floor, err := modelpb.VectorFromProto(open.GetApplied())
	if err != nil {
		return nil, fmt.Errorf("open.applied: %w", err)
	}
	s := &session{
		hub: h, key: key, account: account, opened: h.deps.Now(), build: open.GetBuildVersion(), floor: floor,
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
		wants:   wants{workload: key, account: account},
		subs:    map[model.Key]bool{},
		sent:    make(map[string]sent, len(open.GetInitialVersions())),
		unknown: map[model.Key]bool{},
		nacks:   map[string]*configpb.Nack{},

		svidUntil: open.GetSvidExpireSeconds(),
	}
	for name, version := range open.GetInitialVersions() {
		s.sent[name] = sent{version: version}
	}
	s.index = &indexVersions{}
	for _, v := range open.GetIndexVersions() {
		if v.GetShard() < compile.Shards {
			s.index[v.GetShard()] = v.GetVersion()
		}
	}
	return s, s.subscribe(&configpb.Subscribe{Add: open.GetServices(), AddAddresses: open.GetAddresses()})
}

// waitState waits for a first state for a moment: a control plane that has just started has one soon, and a replica that
// cannot get one must not hold a sidecar that another could serve.
func (h *Hub) waitState(ctx context.Context, s *session) error {
	timer := time.NewTimer(h.cfg.OpenWait)
	defer timer.Stop()
	for {
		changed := h.Changed()
		if p := h.current.Load(); p != nil {
			s.ackedGen = p.generation
			h.countOtherEpochs(s.floor, p.vector)
			if p.vector.Behind(s.floor) {
				return nil // what it knows may be old, also of whom the workload belongs to
			}
			return s.owned(p.state)
		}
		select {
		case <-changed:
		case <-timer.C:
			return fault.New(fault.Unavailable, "this replica has no complete state yet; try another")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// countOtherEpochs notes which sources of a sidecar's state cannot be compared with what is here: it is sent whatever differs,
// also what is older than what it had.
func (h *Hub) countOtherEpochs(had, now model.Vector) {
	for _, of := range []struct {
		source   string
		had, now string
	}{
		{"policy", had.Policy.Epoch, now.Policy.Epoch},
		{"discovery", had.Discovery.Epoch, now.Discovery.Epoch},
		{"identity", had.Identity.Epoch, now.Identity.Epoch},
	} {
		if of.had != "" && of.now != "" && of.had != of.now {
			h.deps.Observer.OtherEpoch(of.source)
		}
	}
}

// run sends until the stream ends.
func (s *session) run(ctx context.Context, ss configpb.ConfigService_StreamServer) error {
	beat := time.NewTimer(s.hub.cfg.Digest)
	defer beat.Stop()
	patience := time.NewTimer(s.hub.cfg.CatchUp)
	defer patience.Stop()
	for {
		u, sent, err := s.next()
		if err != nil {
			return err
		}
		if u != nil {
			patience.Stop()
			s.hub.deps.Observer.UpdateSent(sent)
			if err := ss.SendMsg(u); err != nil {
				return err
			}
			beat.Reset(s.hub.cfg.Digest)
		}
		select {
		case <-s.wake:
		case <-beat.C:
			s.mu.Lock()
			s.digest = true
			s.mu.Unlock()
			beat.Reset(s.hub.cfg.Digest)
		case <-patience.C:
			return fault.New(fault.Unavailable, "this replica lags behind what the sidecar has applied; try another")
		case <-s.ended:
			return s.reason(ctx, ss)
		case <-ctx.Done():
			return s.reason(ctx, ss)
		}
	}
}

// reason is why the stream ends. When the replica drains, its sidecars are told to move first, spread over some time.
func (s *session) reason(ctx context.Context, ss configpb.ConfigService_StreamServer) error {
	err := ctx.Err()
	select {
	case <-s.ended:
		err = s.err
	default:
	}
	// A receive may say that the server drains a moment before the context does.
	if rpc.Draining(ctx) || fault.Is(err, fault.Unavailable) {
		return s.goAway(ss)
	}
	return err
}

func (s *session) goAway(ss configpb.ConfigService_StreamServer) error {
	within := s.hub.moveWithin()
	if within > 0 {
		away := &configpb.GoAway{Within: durationpb.New(within)}
		if err := ss.Send(&configpb.StreamResponse{Response: &configpb.StreamResponse_GoAway{GoAway: away}}); err != nil {
			return err
		}
		timer := time.NewTimer(within)
		defer timer.Stop()
		<-timer.C // a sidecar that has moved costs nothing more; the server's own deadline bounds this too
	}
	return fault.New(fault.Unavailable, "this replica is draining")
}

// moveWithin is how long the sidecars of this replica may take to move: as long as the others need to admit them, and no time
// at all when there is no other.
func (h *Hub) moveWithin() time.Duration {
	if h.deps.Peers() == 0 {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	need := time.Duration(float64(len(h.sessions)) / h.cfg.AdmitPerSecond * float64(time.Second))
	return min(max(need, 200*time.Millisecond), h.cfg.MoveWithin)
}
