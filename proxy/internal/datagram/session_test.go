package datagram

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// bench is a Packets and a Handler of a test's own, under synctest's clock.
type bench struct {
	t        *testing.T
	sessions *Sessions
	in       chan sent // from clients
	out      chan sent // to clients
	closed   chan struct{}
	once     sync.Once
	refuse   error // instead of a peer
	peers    chan *peer
	records  chan flow.Record
	refused  chan error
}

type sent struct {
	payload  string
	from, to netip.AddrPort
}

// peer is the far end of one session.
type peer struct {
	got     chan string // nil: takes nothing
	say     chan string
	fail    chan error
	goodbye chan flow.Reason
	gone    chan struct{}
	once    sync.Once
}

func (p *peer) Send(frames []byte) (int, error) {
	for len(frames) > 0 {
		f, n, err := Next(frames)
		if err != nil {
			return 0, err
		}
		select {
		case p.got <- string(f.Payload):
		case <-p.gone:
			return 0, net.ErrClosed
		}
		frames = frames[n:]
	}
	return 0, nil
}

func (p *peer) Receive(deliver func([]byte)) error {
	for {
		select {
		case s := <-p.say:
			deliver([]byte(s))
		case err := <-p.fail:
			return err
		case <-p.gone:
			return net.ErrClosed
		}
	}
}

func (p *peer) Goodbye(reason flow.Reason) {
	p.goodbye <- reason
	p.fail <- nil // hears it, and ends too
}

func (p *peer) Abort() { p.once.Do(func() { close(p.gone) }) }

func newBench(t *testing.T, cfg Config) *bench {
	b := &bench{
		t: t, in: make(chan sent), out: make(chan sent, 1000), closed: make(chan struct{}),
		peers: make(chan *peer, 100), records: make(chan flow.Record, 100), refused: make(chan error, 100),
	}
	cfg.Emit = func(rec *flow.Record) { b.records <- *rec }
	b.sessions = New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = b.sessions.Run(ctx) })
	running.Go(func() {
		if err := b.sessions.Serve(ctx, b, b); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if n := b.sessions.memory.used.Load(); n != 0 {
			t.Errorf("%d bytes did not come back", n)
		}
		if n := b.sessions.Len(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
	return b
}

func (b *bench) Read(buf []byte) (int, netip.AddrPort, netip.AddrPort, error) {
	select {
	case s := <-b.in:
		return copy(buf, s.payload), s.from, s.to, nil
	case <-b.closed:
		return 0, netip.AddrPort{}, netip.AddrPort{}, net.ErrClosed
	}
}

func (b *bench) Reply(payload []byte, from, to netip.AddrPort) error {
	b.out <- sent{string(payload), from, to}
	return nil
}

func (b *bench) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

func (b *bench) Carry(_ context.Context, s *Session) flow.Reason {
	rec := flow.Record{Start: time.Now(), MTLS: true, Endpoint: &table.Endpoint{Key: "here"}}
	if b.refuse != nil {
		return s.Refuse(&rec, b.refuse)
	}
	p := &peer{got: make(chan string), say: make(chan string), fail: make(chan error, 1), goodbye: make(chan flow.Reason, 1), gone: make(chan struct{})}
	b.peers <- p
	return s.Relay(p, Reply(b, s), &rec)
}

func (b *bench) Refused(_ Client, err error) { b.refused <- err }

func client(n byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, n}), 1000)
}

var server = netip.MustParseAddrPort("198.18.0.1:53")

func (b *bench) send(n byte, payload string) { b.in <- sent{payload, client(n), server} }

func TestSessionGoesBothWaysAndEndsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{Idle: 10 * time.Second})
		b.send(1, "a")
		b.send(1, "b")
		p := <-b.peers
		if got := <-p.got + <-p.got; got != "ab" {
			t.Errorf("the peer got %q", got)
		}
		for range 5 { // what passes keeps it alive
			time.Sleep(8 * time.Second)
			p.say <- "c"
		}
		if got := <-b.out; got != (sent{"c", server, client(1)}) {
			t.Errorf("the client got %+v", got)
		}
		if len(b.records) > 0 {
			t.Error("it ended in the middle")
		}
		rec := <-b.records
		if rec.Reason != flow.None || rec.BytesSent != 2 || rec.DatagramsSent != 2 || rec.DatagramsReceived != 5 || rec.Duration < 49*time.Second {
			t.Errorf("record %+v", rec)
		}
		if reason := <-p.goodbye; reason != flow.None {
			t.Errorf("the peer was told %v", reason)
		}
		b.send(1, "again")
		if got := <-(<-b.peers).got; got != "again" {
			t.Errorf("the next session got %q", got)
		}
	})
}

func TestSlowPeerCostsItsOwnDatagramsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{Stall: 5 * time.Second, Idle: time.Hour})
		b.send(1, "first")
		stuck := <-b.peers
		synctest.Wait() // in Send, for good
		const count, size = 2000, 1000
		for range count {
			b.send(1, string(make([]byte, size)))
		}
		if held := b.sessions.memory.used.Load(); held > depth*64<<10+4096 {
			t.Errorf("%d bytes are held for one session", held)
		}
		b.send(2, "other")
		if got := <-(<-b.peers).got; got != "other" {
			t.Errorf("another session got %q", got)
		}
		rec := <-b.records // the stall ends it
		if rec.Reason != flow.Timeout {
			t.Errorf("record %+v", rec)
		}
		<-stuck.gone
		if rec.DatagramsDropped != count+1 { // those that waited were dropped too, in the end
			t.Errorf("%d of %d datagrams dropped", rec.DatagramsDropped, count+1)
		}
		if n := b.sessions.Dropped.Backpressure.Load(); n == 0 || n >= count {
			t.Errorf("%d datagrams dropped for backpressure", n)
		}
	})
}

func TestMemoryIsBoundedForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{Memory: 20 << 10, Idle: time.Hour, Stall: time.Hour})
		for n := range byte(10) {
			for range 50 {
				b.send(n, "some datagram of a session whose peer takes nothing at all")
			}
		}
		synctest.Wait()
		if held := b.sessions.memory.used.Load(); held > 20<<10 {
			t.Errorf("%d bytes are held", held)
		}
		if b.sessions.Dropped.Backpressure.Load() == 0 {
			t.Error("nothing was dropped")
		}
	})
}

// TestFailedSessionHoldsOff: a client that sends on and on does not make a session of each datagram.
func TestFailedSessionHoldsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{})
		b.refuse = flow.Fail(flow.Denied, errors.New("no"))
		for range 1000 {
			b.send(1, "x")
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if n := len(b.records); n < 2 || n > 5 {
			t.Errorf("%d sessions in a second", n)
		}
		if rec := <-b.records; rec.Reason != flow.Denied || rec.DatagramsSent != 0 {
			t.Errorf("record %+v", rec)
		}
	})
}

func TestTooManySessionsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{Max: 2, Idle: time.Hour, Stall: time.Hour})
		for n := range byte(50) {
			b.send(n, "x")
		}
		synctest.Wait()
		if len(b.peers) != 2 || b.sessions.Dropped.Refused.Load() != 48 {
			t.Errorf("%d sessions, %d datagrams refused", len(b.peers), b.sessions.Dropped.Refused.Load())
		}
		if n := len(b.refused); n != 1 {
			t.Errorf("%d refusals were told at once", n)
		}
		if err := <-b.refused; flow.ReasonOf(err, flow.None) != flow.Overload {
			t.Errorf("got %v", err)
		}
		time.Sleep(2 * time.Second)
		b.send(90, "x")
		<-b.refused
	})
}

// anywhere lets every session with the outside go on.
func anywhere(netip.AddrPort) flow.Reason { return flow.None }

// TestRetiredSession: the client's next datagram goes to another endpoint, late replies of the old one still come.
func TestRetiredSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{})
		b.send(1, "a")
		old := <-b.peers
		<-old.got
		b.sessions.Follow(table.Permissive, func(key string) bool { return key != "here" }, anywhere)
		b.sessions.Follow(table.Permissive, func(string) bool { return true }, anywhere) // it is back: for the next session
		b.send(1, "b")
		next := <-b.peers
		if got := <-next.got; got != "b" {
			t.Errorf("the next session got %q", got)
		}
		old.say <- "late"
		if got := <-b.out; got.payload != "late" {
			t.Errorf("the client got %+v", got)
		}
		if rec := <-b.records; rec.Reason != flow.None || rec.BytesReceived != 4 {
			t.Errorf("record %+v", rec)
		}
		next.say <- "still"
	})
}

func TestRetiredSessionEndsInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{})
		b.send(1, "a")
		p := <-b.peers
		<-p.got
		b.sessions.Follow(table.Permissive, func(string) bool { return false }, anywhere)
		begun := time.Now()
		for len(b.records) == 0 && time.Since(begun) < time.Minute { // a server that never stops
			select {
			case p.say <- "x":
			case <-p.gone:
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := len(b.records); n != 1 {
			t.Errorf("%d sessions ended", n)
		}
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Config{Idle: time.Hour})
		b.send(1, "busy")
		busy := <-b.peers
		<-busy.got
		b.send(2, "quiet")
		<-(<-b.peers).got
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		drained := make(chan error)
		go func() { drained <- b.sessions.Drain(ctx) }()
		synctest.Wait()
		b.send(3, "new")
		if err := <-b.refused; flow.ReasonOf(err, flow.None) != flow.Draining {
			t.Errorf("a new session: %v", err)
		}
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			busy.say <- "x"
		}
		if rec := <-b.records; rec.Reason != flow.None || rec.BytesSent != 5 {
			t.Errorf("the quiet one: %+v", rec)
		}
		for {
			select {
			case busy.say <- "x":
				time.Sleep(100 * time.Millisecond)
				continue
			case err := <-drained:
				if err == nil {
					t.Error("nothing was cut")
				}
			}
			break
		}
		if rec := <-b.records; rec.Reason != flow.Draining {
			t.Errorf("the busy one: %+v", rec)
		}
		if reason := <-busy.goodbye; reason != flow.Draining {
			t.Errorf("its peer was told %v", reason)
		}
	})
}

// TestPeersLastWordIsTheReason also holds for a peer that breaks.
func TestPeersLastWordIsTheReason(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want flow.Reason
	}{
		{nil, flow.None},
		{flow.Fail(flow.Denied, errLast), flow.Denied},
		{errors.New("reset"), flow.UpstreamReset},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, Config{})
			b.send(1, "a")
			(<-b.peers).fail <- tt.err
			if rec := <-b.records; rec.Reason != tt.want {
				t.Errorf("record %+v, want %v", rec, tt.want)
			}
		})
	}
}
