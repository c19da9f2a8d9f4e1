package load

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/weft-mesh/weft/integration/bench/loop"
)

// client is one connection, or more, of a load.
type client interface {
	loop.Handler
	// close ends its connections.
	close()
}

// runner makes one load.
type runner struct {
	spec    Spec
	loop    *loop.Loop
	meter   meter
	clients []client
	opened  int
}

// Run makes the load and measures it. Any wrong answer or broken connection is an error.
func Run(s Spec) (Result, error) {
	if s.Kind == Handshake {
		return handshakes(s)
	}
	r, err := start(s)
	if r != nil {
		defer r.stop()
	}
	if err != nil {
		return Result{}, fmt.Errorf("%s to %s: %w", s.Kind, s.Address, err)
	}
	result, err := r.run()
	if err != nil {
		return Result{}, fmt.Errorf("%s to %s: %w", s.Kind, s.Address, err)
	}
	return result, nil
}

// start opens all connections, but for those of Idle.
func start(s Spec) (*runner, error) {
	l, err := loop.New()
	if err != nil {
		return nil, err
	}
	r := &runner{spec: s, loop: l, meter: meter{began: time.Now(), times: make([]int64, 0, 1<<18)}}
	switch s.Kind {
	case HTTPRate:
		return r, r.startRate()
	case Idle:
		return r, nil
	}
	for range s.Conns {
		c, err := r.connect()
		if err != nil {
			return r, err
		}
		r.clients = append(r.clients, c)
	}
	return r, nil
}

func (r *runner) connect() (client, error) {
	switch r.spec.Kind {
	case HTTP, HTTPNew, Idle:
		return newWeb(r, r.spec.Kind == HTTPNew)
	case GRPC:
		return newRPC(r)
	case TCPEcho:
		return newEcho(r)
	case TCPBulk:
		return newBulk(r)
	}
	return nil, fmt.Errorf("there is no kind of load %q", r.spec.Kind)
}

func (r *runner) stop() {
	for _, c := range r.clients {
		c.close()
	}
	r.loop.Close()
}

func (r *runner) run() (Result, error) {
	if err := r.until(r.spec.Warm); err != nil {
		return Result{}, err
	}
	before, err := clocks(r.spec.Pids)
	if err != nil {
		return Result{}, err
	}
	began := time.Now()
	r.meter.measuring = true
	err = r.until(r.spec.For)
	// A short time on a busy machine goes on until there is something to divide by.
	for end := began.Add(patience); err == nil && r.meter.done == 0 && time.Now().Before(end); {
		err = r.until(10 * time.Millisecond)
	}
	r.meter.measuring = false
	seconds := time.Since(began).Seconds()
	if err != nil {
		return Result{}, err
	}
	cpu, err := since(before, r.spec.Pids)
	if err == nil && r.meter.done == 0 {
		err = fmt.Errorf("no answer in %.1f s", seconds)
	}
	return r.meter.result(seconds, cpu), err
}

func since(before []int64, pids []int) ([]float64, error) {
	after, err := clocks(pids)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(pids))
	for i := range pids {
		out[i] = float64(after[i]-before[i]) / 1e3
	}
	return out, nil
}

func (r *runner) until(d time.Duration) error {
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		if err := r.loop.Turn(int(left/time.Millisecond) + 1); err != nil {
			return err
		}
	}
}

// sources is how many addresses of this machine short connections come from in turn.
const sources = 64

// dial opens a connection from the next source address.
func (r *runner) dial(h loop.Handler) (*loop.Conn, error) {
	r.opened++
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(1 + r.opened%sources)}), 0)
	return r.loop.Dial(r.spec.Address, from, h)
}
