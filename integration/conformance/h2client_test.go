package conformance

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/summerwind/h2spec/client"
	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/spec"
)

// TestR8_H2SpecClient runs every case that h2spec has for clients: it stands for the program, and the sidecar before it has to
// bear with it.
func TestR8_H2SpecClient(t *testing.T) {
	modes(t, func(w *world) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		w.must(err)
		w.Cleanup(func() { l.Close() })
		p := &program{client: newClient(w.T, 2), conns: make(chan net.Conn)}
		go p.accept(l)
		w.app("app", "http2", l.Addr().(*net.TCPAddr).Port)
		p.url = "http://" + w.client("app").upstream("app") + "/"
		const want = 57
		if n := p.group(w.T, client.Spec()); n != want {
			w.Errorf("%d cases, want %d", n, want)
		}
	})
}

// program is what h2spec stands for.
type program struct {
	client *http.Client
	url    string        // where it is reached through sidecars
	conns  chan net.Conn // that a sidecar has begun to speak on
}

// begun is a connection whose first bytes have been read ahead.
type begun struct {
	net.Conn
	r *bufio.Reader
}

// Read reads what is ahead first.
func (b *begun) Read(p []byte) (int, error) { return b.r.Read(p) }

func (p *program) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			b := &begun{conn, bufio.NewReader(conn)}
			if _, err := b.r.Peek(1); err != nil { // it only wanted to know whether somebody listens
				conn.Close()
				return
			}
			p.conns <- b
		}()
	}
}

// group runs a group's cases, one after the other because all meet the same sidecar, and returns how many there are.
func (p *program) group(t *testing.T, group *spec.ClientTestGroup) int {
	for _, tc := range group.Tests {
		t.Run(fmt.Sprintf("%s/%d %s", group.ID(), tc.Seq, tc.Desc), func(t *testing.T) { p.run(t, tc) })
	}
	n := len(group.Tests)
	for _, g := range group.Groups {
		n += p.group(t, g)
	}
	return n
}

// run has requests made and lets the case treat the first connection on which they come.
func (p *program) run(t *testing.T, tc *spec.ClientTestCase) {
	var enough atomic.Bool
	over := make(chan struct{})
	go func() {
		defer close(over)
		for !enough.Load() { // the first may fail by what the case before has done
			if resp, err := p.client.Get(p.url); err == nil { // what the client gets is not what the case is about
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		}
	}()
	c := &config.Config{Timeout: 2 * time.Second, MaxHeaderLen: 4000, Strict: true}
	nc := <-p.conns
	defer nc.Close()
	conn, err := spec.Accept(c, nc)
	if err != nil {
		t.Fatal(err)
	}
	verdict(t, tc.Requirement, tc.Run(c, conn))
	enough.Store(true)
	nc.Close()
	for { // no request may reach into the next case
		select {
		case again := <-p.conns:
			again.Close()
		case <-over:
			return
		}
	}
}
