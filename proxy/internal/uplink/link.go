package uplink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/internal/rpctext"
)

// ErrMove ends a session whose replica asked the client to leave: the next replica is tried at once.
var ErrMove = errors.New("the replica asked to leave")

// Delays between sessions. The limit bounds how long a sidecar stays away after its control plane has come back.
const (
	firstDelay = 100 * time.Millisecond
	lastDelay  = 3 * time.Second
)

// Connect makes a connection to a replica; it does not wait for it.
type Connect func(address string) (*grpc.ClientConn, error)

// Session is one conversation. It returns when the conversation is over, with the reason. It calls good once the replica has
// proved useful.
type Session func(ctx context.Context, conn *grpc.ClientConn, good func()) error

// Config says whom to talk to.
type Config struct {
	// Service names the service in logs.
	Service string
	// Addresses of the replicas, "host:port".
	Addresses []string
	// Connect makes connections.
	Connect Connect
	// Ready is waited for before every connection; nil: always ready.
	Ready func(context.Context) error
}

// Link runs sessions one after the other.
type Link struct {
	cfg Config
	log *zap.Logger

	mu     sync.Mutex
	status Status
}

// Status is what is known of a link.
type Status struct {
	// Address of the replica that the session is with, or was.
	Address string `json:"address,omitempty"`
	// Connected says that the current session has proved useful.
	Connected bool `json:"connected"`
	// Since is when Connected changed last.
	Since time.Time `json:"since"`
	// Sessions counts sessions begun.
	Sessions uint64 `json:"sessions"`
	// Err is why the last session ended.
	Err string `json:"error,omitempty"`
}

// New checks the configuration.
func New(cfg Config, log *zap.Logger) (*Link, error) {
	if len(cfg.Addresses) == 0 {
		return nil, fmt.Errorf("no address of the %s service is known", cfg.Service)
	}
	return &Link{cfg: cfg, log: log, status: Status{Since: time.Now()}}, nil
}

// Status returns what is known now.
func (l *Link) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// Run keeps a session going until ctx ends.
func (l *Link) Run(ctx context.Context, session Session) error {
	wait := backoff.New(firstDelay, lastDelay)
	next := rand.IntN(len(l.cfg.Addresses)) // spreads sidecars over replicas
	for ctx.Err() == nil {
		if l.cfg.Ready != nil && l.cfg.Ready(ctx) != nil {
			return nil
		}
		err := l.once(ctx, l.cfg.Addresses[next], session, wait)
		if ctx.Err() != nil {
			return nil
		}
		next = (next + 1) % len(l.cfg.Addresses)
		l.ended(err)
		if errors.Is(err, ErrMove) && len(l.cfg.Addresses) > 1 {
			continue
		}
		if wait.Wait(ctx) != nil {
			return nil
		}
	}
	return nil
}

func (l *Link) once(ctx context.Context, address string, session Session, wait *backoff.Backoff) error {
	conn, err := l.cfg.Connect(address)
	if err != nil {
		return fmt.Errorf("connect to %s at %s: %w", l.cfg.Service, address, err)
	}
	defer conn.Close()
	l.mu.Lock()
	l.status.Address = address
	l.status.Sessions++
	l.mu.Unlock()
	var since time.Time
	good := func() {
		since = time.Now()
		l.good(address)
	}
	err = session(ctx, conn, good)
	// Only a conversation that lasted forgets earlier failures: two sidecars of one name, each of which ends the other's, would
	// otherwise come back at full speed for ever.
	if !since.IsZero() && time.Since(since) >= lastDelay {
		wait.Reset()
	}
	if err != nil {
		return fmt.Errorf("%s at %s: %w", l.cfg.Service, address, err)
	}
	return nil
}

func (l *Link) good(address string) {
	l.mu.Lock()
	changed := !l.status.Connected
	if changed {
		l.status.Connected, l.status.Since, l.status.Err = true, time.Now(), ""
	}
	l.mu.Unlock()
	if changed {
		l.log.Info("connected to control plane", zap.String("service", l.cfg.Service), zap.String("address", address))
	}
}

func (l *Link) ended(err error) {
	text := "the replica ended it"
	if err != nil {
		text = rpctext.Plain(err.Error())
	}
	l.mu.Lock()
	changed := l.status.Connected || l.status.Err == ""
	if l.status.Connected {
		l.status.Since = time.Now()
	}
	l.status.Connected, l.status.Err = false, text
	l.mu.Unlock()
	if changed { // changes of state are logged, not attempts
		l.log.Warn("lost control plane", zap.String("service", l.cfg.Service), zap.String("reason", text))
	}
}
