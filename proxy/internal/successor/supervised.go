package successor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/weft-mesh/weft/internal/control"
)

// Supervised has the supervisor of this process start the new one. It is used by one goroutine at a time.
type Supervised struct {
	conn *control.Conn
}

// NewSupervised talks with the supervisor over a socket that this process was started with.
func NewSupervised(fd uintptr) (*Supervised, error) {
	conn, err := control.FromFile(os.NewFile(fd, "supervisor"))
	if err != nil {
		return nil, fmt.Errorf("supervisor: file descriptor %d: %w", fd, err)
	}
	return &Supervised{conn}, nil
}

// Start is of Starter.
func (s *Supervised) Start(ctx context.Context, binary string) (Process, error) {
	if err := s.conn.Send(control.Message{Kind: control.Start, Binary: binary}); err != nil {
		return nil, fmt.Errorf("supervisor: %w", err)
	}
	for {
		m, _, err := s.conn.Receive(ctx)
		switch {
		case err != nil:
			return nil, fmt.Errorf("supervisor: %w", err)
		case m.Kind != control.Started:
			continue // of an earlier one, which was ended
		case m.Error != "":
			return nil, errors.New(m.Error)
		}
		p := &supervised{conn: s.conn, pid: m.PID, ended: make(chan error, 1)}
		p.watch()
		return p, nil
	}
}

type supervised struct {
	conn  *control.Conn
	pid   int
	ended chan error
	stop  func()
}

// watch listens to the supervisor until the process has ended, or somebody says End or Done.
func (p *supervised) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	var listening sync.WaitGroup
	p.stop = func() {
		cancel()
		listening.Wait()
	}
	listening.Go(func() {
		m, _, err := p.conn.Receive(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			p.ended <- fmt.Errorf("supervisor: %w", err)
		case err == nil && m.Kind == control.Ended:
			p.ended <- errors.New(m.Error)
		}
	})
}

func (p *supervised) PID() int            { return p.pid }
func (p *supervised) Ended() <-chan error { return p.ended }
func (p *supervised) End()                { p.say(control.End) }
func (p *supervised) Done()               { p.say(control.Done) }

// say tells the supervisor; one that does not hear it is gone, and takes its processes with it.
func (p *supervised) say(kind control.Kind) {
	p.stop()
	_ = p.conn.Send(control.Message{Kind: kind, PID: p.pid})
}
