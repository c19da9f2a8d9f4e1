package differ

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// tap stands between a sidecar and a program and keeps what goes over each connection.
type tap struct {
	net.Listener
	network, program string

	mu      sync.Mutex
	changed sync.Cond
	conns   []*tapped
	wg      sync.WaitGroup
}

// tapped is one connection. Its fields are guarded by the tap.
type tapped struct {
	tap               *tap
	sidecar, program  net.Conn
	sent, answered    []byte
	ended, programEnd bool // the sidecar or the program has closed
	deaf              bool // what the program says now is not for the sidecar
}

func newTap(tb testing.TB, network, program string) *tap {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &tap{Listener: ln, network: network, program: program}
	p.changed.L = &p.mu
	p.wg.Go(p.accept)
	tb.Cleanup(func() {
		ln.Close()
		p.reset()
		p.wg.Wait()
	})
	return p
}

func (p *tap) accept() {
	for {
		sidecar, err := p.Accept()
		if err != nil {
			return
		}
		program, err := net.Dial(p.network, p.program)
		if err != nil {
			sidecar.Close()
			continue
		}
		c := &tapped{tap: p, sidecar: sidecar, program: program}
		p.mu.Lock()
		p.conns = append(p.conns, c)
		p.mu.Unlock()
		p.wg.Go(func() { c.copy(program, sidecar, &c.sent, &c.ended) })
		p.wg.Go(func() { c.copy(sidecar, program, &c.answered, &c.programEnd) })
	}
}

func (c *tapped) copy(dst, src net.Conn, kept *[]byte, ended *bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		c.tap.mu.Lock()
		*kept = append(*kept, buf[:n]...)
		*ended = *ended || err != nil
		deaf := c.deaf
		c.tap.changed.Broadcast()
		c.tap.mu.Unlock()
		if n > 0 && !deaf {
			_, _ = dst.Write(buf[:n]) // whoever is gone needs it no more
		}
		if err != nil {
			if !deaf {
				dst.Close()
			}
			return
		}
	}
}

// reset forgets and closes all connections.
func (p *tap) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.sidecar.Close()
		c.program.Close()
	}
	p.conns = nil
}

// patience is how long anything may take before it counts as a connection that hangs.
const patience = 20 * time.Second

// wait returns once done, which is called under mu; false when that does not come.
func (p *tap) wait(done func() bool) bool {
	late := false
	timer := time.AfterFunc(patience, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		late = true
		p.changed.Broadcast()
	})
	defer timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !done() {
		if late {
			return false
		}
		p.changed.Wait()
	}
	return true
}

// settled says that the sidecar is done with all connections: closed, or every request on it is answered. Under mu.
func (p *tap) settled() bool {
	for _, c := range p.conns {
		if c.ended {
			continue
		}
		list, err := forwarded(c.sent)
		if err != nil {
			continue // it will be judged
		}
		if n := len(list); n > 0 && (!list[n-1].whole || len(c.answers(list)) < n) {
			return false
		}
	}
	return true
}

// answers reads the final responses to the requests that a connection carried, as far as they have come.
func (c *tapped) answers(list []message) (got []*http.Response) {
	r := bufio.NewReader(bytes.NewReader(c.answered))
	for _, m := range list {
		var resp *http.Response
		for {
			var err error
			if resp, err = http.ReadResponse(r, &http.Request{Method: m.method}); err != nil {
				return got
			}
			if resp.StatusCode >= 200 {
				break
			}
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 && !c.programEnd {
			return got
		}
		got = append(got, resp)
	}
	return got
}

var errHangs = errors.New("no answer to the probe")

// probe takes the connection away from the sidecar and asks the program once more on it: were anything left over from the
// requests before, the program would read it together with this one.
func (c *tapped) probe(target string) (resp *http.Response, err error) {
	c.tap.mu.Lock()
	c.deaf = true
	before := len(c.answered)
	c.tap.mu.Unlock()
	c.sidecar.Close()
	if _, err := io.WriteString(c.program, "GET "+target+" HTTP/1.1\r\nHost: probe\r\n\r\n"); err != nil {
		return nil, err
	}
	read := func() bool {
		resp, err = http.ReadResponse(bufio.NewReader(bytes.NewReader(c.answered[before:])), nil)
		return err == nil || c.programEnd
	}
	if !c.tap.wait(read) {
		return nil, errHangs
	}
	return resp, err
}
