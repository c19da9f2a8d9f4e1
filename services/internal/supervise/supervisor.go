package supervise

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/internal/control"
)

const (
	// while is how long a sidecar has to have been up to be started again at once: the program's calls are refused until it is
	// back. Otherwise there is a pause.
	while = 5 * time.Second
	pause = 200 * time.Millisecond
)

// Config says what is kept running. All of it is required.
type Config struct {
	// Binary is the path of the sidecar's program.
	Binary string
	// Command makes the command line, to run binary as the sidecar, or in the place of the one that runs; supervisor is a file that
	// the process has to inherit.
	Command func(binary string, takeOver bool, supervisor *os.File) *exec.Cmd
	// Start starts it.
	Start func(*exec.Cmd) error
	// Hopeless says, when the first process has ended, that there is no use in another one.
	Hopeless func() bool
	// Progress is told of restarts.
	Progress io.Writer
}

// Supervisor keeps one sidecar running. Make one with New.
type Supervisor struct {
	cfg    Config
	events chan event
	over   chan struct{} // closed when Run returns

	mu     sync.Mutex
	alive  map[*process]struct{}
	ending bool

	// Of Run only.
	binary  string
	current *process
	next    *process // is to take the place of current; nil: none
}

// process is one of the sidecar's.
type process struct {
	binary string
	begun  time.Time
	cmd    *exec.Cmd
	conn   *control.Conn
}

// event is what happens to a process: it says something, or it has ended.
type event struct {
	process *process
	message *control.Message // nil: it has ended
	err     error
}

// New makes a supervisor; it starts nothing.
func New(cfg Config) *Supervisor {
	return &Supervisor{cfg: cfg, binary: cfg.Binary, events: make(chan event), over: make(chan struct{}), alive: map[*process]struct{}{}}
}

// Run keeps the sidecar running until Stop; then it returns when the last process has ended, with its error. It returns early when
// there is no use in going on.
func (s *Supervisor) Run() error {
	defer close(s.over)
	var err error
	for first := true; ; first = false {
		begun := time.Now()
		if s.current, err = s.launch(s.binary, false); err == nil {
			err = s.watch()
			begun = s.current.begun
		}
		s.mu.Lock()
		ending := s.ending
		s.mu.Unlock()
		if ending || first && s.cfg.Hopeless() {
			return err
		}
		fmt.Fprintf(s.cfg.Progress, "weft: sidecar ended (%v), starting it again\n", err)
		if time.Since(begun) < while {
			time.Sleep(pause)
		}
	}
}

// watch returns when the sidecar has ended: while it is to go on, when the process that is it has, and afterwards when all have.
func (s *Supervisor) watch() error {
	for e := range s.events {
		if e.message != nil {
			s.said(e.process, e.message)
			continue
		}
		s.mu.Lock()
		delete(s.alive, e.process)
		last := s.ending && len(s.alive) == 0
		ending := s.ending
		s.mu.Unlock()
		_ = e.process.conn.Close()
		switch {
		case last:
			return e.err
		case e.process == s.next:
			s.next = nil
			s.current.say(control.Message{Kind: control.Ended, PID: e.process.cmd.Process.Pid, Error: text(e.err)})
		case e.process == s.current && s.next != nil:
			s.current, s.next = s.next, nil // it gave its place away and died: the other one has it by now, or ends too
		case e.process == s.current && !ending:
			return e.err
		}
	}
	return nil // not reached: nobody closes events
}

// said does what a process asks for. Only the one that is the sidecar may ask.
func (s *Supervisor) said(p *process, m *control.Message) {
	if p != s.current {
		return
	}
	switch m.Kind {
	case control.Start:
		answer := control.Message{Kind: control.Started}
		next, err := s.successor(cmp.Or(m.Binary, s.cfg.Binary))
		if err != nil {
			answer.Error = err.Error()
		} else {
			s.next, answer.PID = next, next.cmd.Process.Pid
		}
		p.say(answer)
	case control.End:
		if s.next != nil && s.next.cmd.Process.Pid == m.PID {
			_ = s.next.cmd.Process.Kill() // it has ended when this fails
		}
	case control.Done:
		if s.next != nil && s.next.cmd.Process.Pid == m.PID {
			s.binary, s.current, s.next = s.next.binary, s.next, nil
		}
	default: // of a later version
	}
}

// successor starts a process that is to take over.
func (s *Supervisor) successor(binary string) (*process, error) {
	if s.next != nil {
		return nil, fmt.Errorf("process %d is still to take over", s.next.cmd.Process.Pid)
	}
	return s.launch(binary, true)
}

// launch starts a process, whose events come from then on.
func (s *Supervisor) launch(binary string, takeOver bool) (*process, error) {
	here, there, err := control.Pair()
	if err != nil {
		return nil, err
	}
	defer there.Close()
	p := &process{binary: binary, begun: time.Now(), cmd: s.cfg.Command(binary, takeOver, there), conn: here}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending && takeOver {
		return nil, errors.Join(errors.New("the program is being stopped"), here.Close())
	}
	if err := s.cfg.Start(p.cmd); err != nil {
		return nil, errors.Join(err, here.Close())
	}
	s.alive[p] = struct{}{}
	if s.ending {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	go p.listen(s.events, s.over)
	go func() {
		err := p.cmd.Wait()
		select {
		case s.events <- event{process: p, err: err}:
		case <-s.over:
		}
	}()
	return p, nil
}

// Stop lets all processes drain, and Run return.
func (s *Supervisor) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	for p := range s.alive {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it has ended when this fails
	}
}

// text says how a process ended; one that ended well has not done what it was started for.
func text(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}
