package differ

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/walktest"
)

// way is one way through sidecars to a program.
type way struct {
	name    string
	addr    string // where the client calls
	tap     *tap   // on the last part of the way
	program *recorder
	records *walktest.Records // of the first sidecar
	own     int               // answers to the last input that were not the recorder's
}

// ways are an outbound sidecar before HAProxy, an inbound one before nginx, and a pair before net/http.
func ways(tb testing.TB) (list []*way) {
	m := walktest.New(tb)
	add := func(name string, front func(tb testing.TB, path, program string) string, path string) *way {
		w := &way{name: name, program: newRecorder(tb)}
		network, at := "tcp", w.program.Listener.Addr().String()
		if front != nil {
			network, at = "unix", front(tb, path, at)
		}
		w.tap = newTap(tb, network, at)
		m.Service(name, table.HTTP)
		list = append(list, w)
		return w
	}
	if path, ok := find(tb, "haproxy"); ok {
		w := add("haproxy", haproxy, path)
		m.Add(walktest.Plain("haproxy", "haproxy-1", w.tap.Addr()))
		c := m.Client("shop")
		w.addr, w.records = c.Upstream("haproxy"), c.Records
	} else {
		tb.Log("NOT COMPARED: HAProxy, which is not installed")
	}
	if path, ok := find(tb, "nginx"); ok {
		w := add("nginx", nginx, path)
		to := m.Workload("nginx", "nginx-1", w.tap.Addr(), &table.Access{Open: true})
		w.addr, w.records = to.Plain, to.Records
	} else {
		tb.Log("NOT COMPARED: nginx, which is not installed")
	}
	w := add("nethttp", nil, "")
	m.Workload("nethttp", "nethttp-1", w.tap.Addr(), m.Allow("shop"))
	c := m.Client("shop")
	w.addr, w.records = c.Upstream("nethttp"), c.Records
	return list
}

// send is a client that says all it has to say and hears what it gets.
func send(addr string, input []byte) (got []byte, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = conn.Write(input)             // the answer tells
		_ = conn.(*net.TCPConn).CloseWrite() // the same
	}()
	got, err = io.ReadAll(conn)
	<-sent
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return got, fmt.Errorf("the connection hangs after %q", got)
	}
	return got, nil // a reset is an answer too
}

// try sends an input, judges what the sidecars and the program make of it, and returns what was sent on. plain says that there was
// nothing odd to it: all of it was whole, and answered by the program.
func (w *way) try(input []byte) (sent []message, plain bool, err error) {
	w.own = 0
	w.tap.reset()
	w.records.Take()
	if _, err := send(w.addr, input); err != nil {
		return nil, false, err
	}
	if !w.tap.wait(w.tap.settled) {
		return nil, false, fmt.Errorf("the sidecar leaves a request open on a connection that it keeps")
	}
	w.tap.mu.Lock()
	conns := w.tap.conns
	w.tap.mu.Unlock()
	var unanswered []message
	answered := 0
	for i, c := range conns {
		list, answers, err := w.judge(c, i)
		if err != nil {
			return nil, false, err
		}
		sent = append(sent, list...)
		unanswered = append(unanswered, list[answers:]...)
		answered += answers
	}
	if n := forwardedOnes(w.records); answered > n {
		return nil, false, fmt.Errorf("%d requests were answered of %d that the sidecar knows of", answered, n)
	}
	return sent, w.own == 0 && len(unanswered) == 0, w.leftover(unanswered)
}

// forwardedOnes counts the requests that a sidecar says it has sent on.
func forwardedOnes(r *walktest.Records) (n int) {
	for _, rec := range r.Take() {
		if rec.Tries > 0 {
			n++
		}
	}
	return n
}

// judge compares the requests that one connection carried with what the program made of them.
func (w *way) judge(c *tapped, number int) (list []message, answered int, err error) {
	c.tap.mu.Lock()
	list, err = forwarded(c.sent)
	answers := c.answers(list)
	free := !c.ended && !c.programEnd
	c.tap.mu.Unlock()
	if err != nil {
		return list, 0, fmt.Errorf("what the sidecar sent is not one thing to all readers: %w", err)
	}
	for i, resp := range answers {
		e := w.program.named(resp)
		switch {
		case e != nil:
			if err := differs(list[i], e); err != nil {
				return list, 0, err
			}
		case resp.StatusCode >= 400:
			w.own++
		default:
			return list, 0, fmt.Errorf("%s answers %s of its own to %+v", w.name, resp.Status, list[i])
		}
		free = free && !resp.Close
	}
	if free && len(list) > 0 && len(answers) == len(list) {
		err = w.clear(c, fmt.Sprintf("/probe-%d", number))
	}
	return list, len(answers), err
}

// clear says whether the program is where it was before any request on a connection.
func (w *way) clear(c *tapped, target string) error {
	resp, err := c.probe(target)
	if err != nil {
		return fmt.Errorf("after %q: %w", c.sent, err)
	}
	if e := w.program.named(resp); e == nil || e.method != "GET" || e.target != target || e.host != "probe" || len(e.body) > 0 {
		return fmt.Errorf("something is left over: the probe is answered %s and seen as %+v", resp.Status, e)
	}
	return nil
}

// differs compares a request as it was sent with what a program saw.
func differs(m message, e *entry) error {
	if m.method != e.method || m.target != e.target || m.host != e.host || !bytes.Equal(m.body, e.body) || !e.whole {
		return fmt.Errorf("sent %s %s to %q with %q, seen %s %s to %q with %q (whole: %v)", m.method, m.target, m.host, m.body, e.method, e.target, e.host, e.body, e.whole)
	}
	for name := range e.header {
		if lower := strings.ToLower(name); !m.fields[lower] && lower != "connection" && lower != "content-length" {
			return fmt.Errorf("the program sees a field %q that was not sent", name)
		}
	}
	return nil
}

// leftover judges what the program saw whole and has not answered: only a request that was sent so may be among it. One that was
// cut off may reach the program at any time later.
func (w *way) leftover(unanswered []message) error {
	for _, e := range w.program.rest() {
		sent := !e.whole
		for i := range unanswered {
			sent = sent || differs(unanswered[i], &e) == nil
		}
		if !sent {
			return fmt.Errorf("%s saw %s %s with %q, which nobody sent", w.name, e.method, e.target, e.body)
		}
	}
	return nil
}

// FuzzRequests: what the sidecars forward is what the program behind them sees, whatever a client sends.
func FuzzRequests(f *testing.F) {
	all := ways(f)
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > 200<<10 || bytes.Contains(input, []byte("PRI * HTTP/2.0\r\n")) {
			return // HTTP/2 is another matter
		}
		var first []string
		for _, w := range all {
			sent, plain, err := w.try(input)
			if err != nil {
				t.Fatalf("%s: %v", w.name, err)
			}
			if !plain {
				continue // a program that refuses a request may do so before all of it has come
			}
			got := outline(sent)
			if first != nil && !slices.Equal(got, first) {
				t.Fatalf("by one way %q\nby the way of %s %q", first, w.name, got)
			}
			first = got
		}
	})
}

// outline are the requests without what differs from way to way.
func outline(list []message) []string {
	out := []string{}
	for _, m := range list {
		out = append(out, fmt.Sprintf("%s %s %q", m.method, m.target, m.body))
	}
	return out
}
