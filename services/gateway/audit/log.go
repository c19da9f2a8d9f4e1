package audit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/kv"
)

// prefix of all events, and how a day is written in their keys.
const (
	prefix = "audit/"
	day    = "2006-01-02"
)

// Config says how much is kept.
type Config struct {
	// MaxEvents bounds the events by number, MaxAge by age.
	MaxEvents int
	MaxAge    time.Duration
}

// Default returns what holds when nothing is configured.
func Default() Config { return Config{MaxEvents: 10_000, MaxAge: 90 * 24 * time.Hour} }

// Validate reports all problems of the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.MaxEvents < 1 || c.MaxEvents > 1_000_000 {
		errs = append(errs, fmt.Errorf("audit-max-events is %d; it must be 1 to 1000000", c.MaxEvents))
	}
	if c.MaxAge < time.Hour {
		errs = append(errs, fmt.Errorf("audit-max-age is %s; it must be at least 1h", c.MaxAge))
	}
	return errors.Join(errs...)
}

// Deps are what a Log needs.
type Deps struct {
	Log     *zap.Logger
	Store   kv.Store
	Metrics prometheus.Registerer
	Now     func() time.Time
}

// Log is the audit log. Safe for concurrent use.
type Log struct {
	cfg     Config
	deps    Deps
	missing prometheus.Counter
	written atomic.Int64
	full    chan struct{}
}

// New makes the log; Run keeps it bounded.
func New(cfg Config, deps Deps) (*Log, error) {
	l := &Log{cfg: cfg, deps: deps, full: make(chan struct{}, 1), missing: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "weft_gateway_audit_missing_total", Help: "Audit events that the store did not take; they are in the gateway's log only.",
	})}
	if err := deps.Metrics.Register(l.missing); err != nil {
		return nil, fmt.Errorf("register metrics of audit: %w", err)
	}
	return l, nil
}

// writeTimeout bounds how long an answer waits for its event to be written. Without a store the call has waited for long already,
// and whoever made it is to hear why it was refused.
const writeTimeout = time.Second

// Write adds an event, whether the call's own context has ended or not.
func (l *Log) Write(ctx context.Context, e *adminpb.AuditEvent) {
	l.line(e)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	raw, err := proto.Marshal(e)
	if err == nil {
		_, err = l.deps.Store.Put(ctx, key(e.GetTime().AsTime()), raw, kv.IfAbsent())
	}
	if err != nil {
		l.missing.Inc()
		l.deps.Log.Error("audit event is in this log only: the store does not take it", zap.String("request_id", e.GetRequestId()), zap.Error(err))
		return
	}
	if l.written.Add(1) >= int64(max(l.cfg.MaxEvents/10, 1)) {
		l.written.Store(0)
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
}

// key names an event so that keys sort by time. Two of one nanosecond differ by chance.
func key(at time.Time) string {
	at = at.UTC()
	return fmt.Sprintf("%s%s/%020d-%s", prefix, at.Format(day), at.UnixNano(), rand.Text()[:8])
}

// line writes an event to the process's own log.
func (l *Log) line(e *adminpb.AuditEvent) {
	var objects []string
	for _, o := range e.GetObjects() {
		objects = append(objects, fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName()))
	}
	l.deps.Log.Info("audit", zap.String("request_id", e.GetRequestId()), zap.String("principal", e.GetPrincipal()),
		zap.Stringer("credential", e.GetCredential()), zap.Stringer("role", e.GetRole()), zap.String("method", e.GetMethod()),
		zap.Strings("objects", objects), zap.String("address", e.GetAddress()), zap.String("code", e.GetCode()), zap.String("reason", e.GetMessage()))
}
