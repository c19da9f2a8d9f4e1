package h2

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// errClosed says that a connection takes no new streams.
var errClosed = errors.New("connection is closing")

// roles is what differs between a client's connection (server side) and an endpoint's (client side). Its methods run on the
// reader, without locks.
type roles interface {
	// headers handles a complete header block.
	headers(id uint32, b *block) error
	// goAway handles the peer's GOAWAY.
	goAway(last uint32, code http2.ErrCode)
}

// conn is one HTTP/2 connection of either side.
type conn struct {
	nc     net.Conn
	client bool // we opened it
	limits *bounds
	role   roles

	// reader only
	br      *bufio.Reader
	fr      *http2.Framer
	dec     *hpack.Decoder
	block   block
	abuse   bucket  // of resets
	trusted bool    // the client is another sidecar
	calm    bucket  // of control frames
	besides int     // control frames since they were last judged
	touched []*conn // to be kicked when the batch is over
	empties int     // DATA frames in a row that carried nothing

	kept atomic.Int64 // bytes of requests that are kept for another try

	mu         sync.Mutex
	wake       sync.Cond
	waiting    bool   // the writer waits for wake
	out        []byte // frames to write
	spare      []byte // the writer's other buffer
	appended   int64  // bytes ever put in out
	moved      int64  // bytes ever of headers and bodies, both ways
	movedThen  int64  // moved when control frames were last judged
	started    int64  // bytes ever handed to a write
	control    int    // control frames in out
	enc        *hpack.Encoder
	encBuf     bytes.Buffer
	streams    map[uint32]*stream
	ready      []*stream // with something to write, in turn
	sendWindow int64
	initial    int64 // the peer's SETTINGS_INITIAL_WINDOW_SIZE
	recvWindow int32
	recvOwed   int32
	withheld   bool   // no window is given because of held
	held       int    // received, but not yet drained, over all streams
	answered   int    // streams that were answered in full since the abuse bucket last heard of them
	lastID     uint32 // highest stream that the client opened
	resets     recent // streams that we reset: frames of them may be under way
	closing    bool   // close once out is written
	closed     bool   // nothing more is written
	err        error  // why
	done       chan struct{}

	// client side
	reserved  int
	maxActive int
	cancelled int    // streams that we reset
	ended     recent // streams that the endpoint ended: it sends nothing more on them
	away      bool   // takes no new streams
	born      time.Time
	idleSince time.Time
	// server side
	draining int // 0: no; 1: first GOAWAY sent; 2: final one sent
}

// newConn makes a connection; sidecar: the client is another sidecar.
func newConn(nc net.Conn, client, sidecar bool, limits *bounds) *conn {
	resets, frames := limits.guard.Resets, limits.guard.ControlFrames
	if sidecar {
		resets *= trusted
	}
	c := &conn{
		nc: nc, client: client, trusted: sidecar, limits: limits,
		br: bufio.NewReaderSize(nc, 32<<10), abuse: newBucket(10*resets, resets), calm: newBucket(frames, max(frames/100, 1)),
		streams: map[uint32]*stream{}, sendWindow: initialWindow, initial: initialWindow,
		recvWindow: limits.ConnWindow, done: make(chan struct{}), maxActive: limits.MaxUpstreamStreams,
	}
	now := time.Now()
	c.born, c.idleSince = now, now
	c.wake.L = &c.mu
	c.fr = http2.NewFramer(nil, c.br)
	c.fr.SetReuseFrames()
	c.fr.SetMaxReadFrameSize(maxFrame)
	c.block.most = limits.guard.HeadFields
	c.dec = hpack.NewDecoder(4096, c.block.add)
	c.block.limit = uint32(limits.guard.HeadBytes)
	c.enc = hpack.NewEncoder(&c.encBuf)
	c.greet()
	return c
}

// run speaks the protocol until the connection is over, and returns why.
func (c *conn) run() error {
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		c.write()
	}()
	err := c.read()
	var ce http2.ConnectionError
	switch {
	case errors.As(err, &ce):
		c.goAwayNow(http2.ErrCode(ce), err)
		c.lose(err)
		c.linger(writer)
	case errors.Is(err, http2.ErrFrameTooLarge):
		c.goAwayNow(http2.ErrCodeFrameSize, err)
		c.lose(err)
		c.linger(writer)
	default:
		c.shut(err)
		c.lose(err)
	}
	c.shut(err)
	<-writer
	close(c.done)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// greet queues what must be written first, before anybody else knows the connection.
func (c *conn) greet() {
	c.mu.Lock()
	defer c.mu.Unlock()
	settings := []http2.Setting{
		{ID: http2.SettingInitialWindowSize, Val: uint32(c.limits.StreamWindow)},
		{ID: http2.SettingMaxHeaderListSize, Val: uint32(c.limits.guard.HeadBytes)},
	}
	var b []byte
	if c.client {
		b = append(b, http2.ClientPreface...)
		settings = append(settings, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	} else {
		settings = append(settings, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.limits.guard.Streams)})
	}
	b = appendSettings(b, settings...)
	if more := c.limits.ConnWindow - initialWindow; more > 0 {
		b = appendWindowUpdate(b, 0, more)
	}
	c.put(b)
}

// linger waits for the writer and then for the peer.
func (c *conn) linger(writer <-chan struct{}) {
	<-writer
	finish(c.nc)
}

// finish ends our side and lets the peer read the GOAWAY: closing with unread bytes would make the kernel throw away what
// the peer has not read yet.
func finish(nc net.Conn) {
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // an error here shows at once in Copy, as does the next one
	}
	_ = nc.SetReadDeadline(time.Now().Add(farewell))
	_, _ = io.Copy(io.Discard, io.LimitReader(nc, 1<<20))
}

// goAwayNow queues a GOAWAY because of cause, and closes after it.
func (c *conn) goAwayNow(code http2.ErrCode, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.put(appendGoAway(nil, c.lastID, code, debug(cause)))
	c.closing, c.away = true, true
	_ = c.nc.SetWriteDeadline(time.Now().Add(farewell)) // of a write that waits already; the writer tells
	if c.err == nil {
		c.err = fmt.Errorf("we gave up: %w", cause)
	}
	c.wake.Signal()
}

// shut closes at once.
func (c *conn) shut(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shutLocked(err)
}

func (c *conn) shutLocked(err error) {
	if c.closed {
		return
	}
	c.closed, c.away = true, true
	if c.err == nil && err != nil && !c.closing && !errors.Is(err, io.EOF) {
		c.err = err
	}
	c.wake.Signal()
	c.nc.Close()
}

// lose ends all streams because the connection is over.
func (c *conn) lose(err error) {
	c.mu.Lock()
	streams := make([]*stream, 0, len(c.streams))
	for _, st := range c.streams {
		streams = append(streams, st)
	}
	c.away = true
	started := c.started
	c.mu.Unlock()
	for _, st := range streams {
		c.drop(st)
		if st.x != nil {
			st.x.lost(st, err, c.client && st.mark >= started)
		}
	}
}

// touch notes that the batch being read has put something on another connection.
func (c *conn) touch(other *conn) {
	for _, t := range c.touched {
		if t == other {
			return
		}
	}
	c.touched = append(c.touched, other)
}

// settle ends a batch: everything that it produced is sent.
func (c *conn) settle() {
	for i, t := range c.touched {
		t.kick()
		c.touched[i] = nil
	}
	c.touched = c.touched[:0]
	c.kick()
}

// kick starts the writer if there is something to write.
func (c *conn) kick() {
	c.mu.Lock()
	if c.waiting && (len(c.out) > 0 || len(c.ready) > 0) {
		c.wake.Signal()
	}
	c.mu.Unlock()
}
