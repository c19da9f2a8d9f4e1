package register

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/proxy/internal/uplink"
)

const (
	// probeTimeout bounds one connection to the app.
	probeTimeout = time.Second
	// defaultHeartbeat is used when the server does not say.
	defaultHeartbeat = 3 * time.Second
	// answerTimeout bounds one answer of discovery.
	answerTimeout = 10 * time.Second
)

// Config says what to register.
type Config struct {
	// Workload as it is registered.
	Workload *discoverypb.Workload
	// Probes that have to succeed first; none: registers at once.
	Probes []Probe
	// Held: another process of this sidecar has registered the workload, and lets go before Run. It counts as registered from
	// the start, also while discovery is away.
	Held bool
}

// Probe asks whether the app is ready on one port.
type Probe struct {
	Port uint16
	// Ready answers for now; an error means that it cannot be told, which counts as no.
	Ready func(ctx context.Context, port uint16) (bool, error)
}

// Registrar keeps one workload registered.
type Registrar struct {
	cfg  Config
	link *uplink.Link
	log  *zap.Logger
	out  chan struct{} // closed when the workload is to be taken out

	mu      sync.Mutex
	state   Status
	conn    grpc.ClientConnInterface // of the current session
	asked   bool                     // discovery may have the workload, answered or not
	leaving bool
	calls   sync.WaitGroup // Deregister calls on conn; added to while conn is set only
	removed *typepb.SourceRevision
}

// Status is what is known of the registration.
type Status struct {
	// AppReady says that every probe of the app has succeeded.
	AppReady bool
	// Registered says that discovery has answered.
	Registered bool
	// Revision at which the workload became visible.
	Revision *typepb.SourceRevision
	// Gone says that the workload has been taken out.
	Gone bool
	// Err is what discovery refused last.
	Err string
}

// New makes a registrar.
func New(cfg Config, link *uplink.Link, log *zap.Logger) *Registrar {
	return &Registrar{
		cfg: cfg, link: link, log: log, out: make(chan struct{}), asked: cfg.Held, state: Status{AppReady: cfg.Held, Registered: cfg.Held},
	}
}

// Status returns what is known now.
func (r *Registrar) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// Link tells of the connection to discovery.
func (r *Registrar) Link() uplink.Status { return r.link.Status() }

// Run registers the workload and keeps it registered until ctx ends or Deregister is called; in the latter case it waits for
// ctx. It does not deregister by itself.
func (r *Registrar) Run(ctx context.Context) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-r.out:
			cancel()
		case <-inner.Done():
		}
	}()
	if r.waitForApp(inner) {
		_ = r.link.Run(inner, r.session) // ends with inner only
	}
	<-ctx.Done()
	return nil
}

// waitForApp returns true once every probe of the app has succeeded, false when ctx ended before.
func (r *Registrar) waitForApp(ctx context.Context) bool {
	for _, p := range r.cfg.Probes {
		wait := backoff.New(20*time.Millisecond, 500*time.Millisecond)
		for told := false; ; {
			ready, err := p.Ready(ctx, p.Port)
			if ready {
				break
			}
			if err != nil && !told {
				told = true
				r.log.Warn("it cannot be told whether the app is ready", zap.Uint16("port", p.Port), zap.Error(err))
			}
			if wait.Wait(ctx) != nil {
				return false
			}
		}
	}
	r.mu.Lock()
	r.state.AppReady = true
	r.mu.Unlock()
	return true
}

// Accepts is the probe of a port of TCP: it connects from where inbound will, by dial.
func Accepts(dial func(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error)) func(context.Context, uint16) (bool, error) {
	return func(ctx context.Context, port uint16) (bool, error) {
		d := &net.Dialer{Timeout: probeTimeout}
		conn, err := dial(ctx, d, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
		if err != nil {
			return false, nil //nolint:nilerr // an app that does not accept is not ready, which is no failure
		}
		conn.Close()
		return true, nil
	}
}

// session is one Register stream.
func (r *Registrar) session(ctx context.Context, conn *grpc.ClientConn, good func()) error {
	if !r.begin(conn) {
		return nil
	}
	defer r.end(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	st, err := discoverypb.NewDiscoveryServiceClient(conn).Register(ctx)
	if err != nil {
		return r.refused(fmt.Errorf("open register stream: %w", err))
	}
	// An error of Send only says that the stream is over; Recv says why.
	_ = st.Send(&discoverypb.RegisterRequest{Request: &discoverypb.RegisterRequest_Workload{Workload: r.cfg.Workload}})
	answer, err := st.Recv()
	if err != nil {
		return r.refused(fmt.Errorf("register: %w", err))
	}
	good()
	r.registered(answer)
	ended := make(chan error, 1)
	go func() {
		_, err := st.Recv() // nothing more is due: this waits for the end
		ended <- err
	}()
	err = heartbeat(ctx, st, interval(answer), ended)
	cancel()
	return err
}

func heartbeat(ctx context.Context, st discoverypb.DiscoveryService_RegisterClient, every time.Duration, ended <-chan error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = st.Send(&discoverypb.RegisterRequest{Request: &discoverypb.RegisterRequest_Heartbeat{Heartbeat: &discoverypb.Heartbeat{}}})
		case err := <-ended:
			return fmt.Errorf("register stream: %w", err)
		case <-ctx.Done():
			<-ended //nolint:errcheck // how a stream ended that we end tells nothing
			return nil
		}
	}
}

func interval(answer *discoverypb.RegisterResponse) time.Duration {
	if every := answer.GetHeartbeatInterval().AsDuration(); every > 0 {
		return every
	}
	return defaultHeartbeat
}

func (r *Registrar) begin(conn grpc.ClientConnInterface) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leaving {
		return false
	}
	r.conn, r.asked = conn, true
	return true
}

// end keeps the connection until a Deregister on it has been answered: discovery ends the stream of a workload that it takes
// out, and may do so before it answers. A session that ended for that reason ends with ctx only, so that nobody takes it for
// a loss.
func (r *Registrar) end(ctx context.Context) {
	r.mu.Lock()
	r.conn = nil
	r.mu.Unlock()
	r.calls.Wait()
	r.mu.Lock()
	gone := r.state.Gone
	r.mu.Unlock()
	if gone {
		<-ctx.Done()
	}
}

func (r *Registrar) registered(answer *discoverypb.RegisterResponse) {
	r.mu.Lock()
	if r.state.Gone { // deregistered before its answer was read
		r.mu.Unlock()
		return
	}
	first := !r.state.Registered
	r.state.Registered, r.state.Err, r.state.Revision = true, "", answer.GetRevision()
	r.mu.Unlock()
	if first {
		r.log.Info("workload registered", zap.Uint64("revision", answer.GetRevision().GetSeq()))
	}
}

// refused remembers what discovery has against this workload; connections that fail are the link's business.
func (r *Registrar) refused(err error) error {
	switch status.Code(err) {
	case codes.PermissionDenied, codes.InvalidArgument, codes.FailedPrecondition:
	default:
		return err
	}
	text := status.Convert(errors.Unwrap(err)).Message()
	r.mu.Lock()
	changed := r.state.Err != text
	r.state.Err = text
	r.asked = r.state.Registered
	r.mu.Unlock()
	if changed {
		r.log.Error("discovery refuses this workload", zap.String("error", text))
	}
	return err
}
