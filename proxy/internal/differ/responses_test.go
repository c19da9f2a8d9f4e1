package differ

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/walktest"
)

// hostile is a program that answers /first with whatever it is told to, and everything else properly.
type hostile struct {
	net.Listener

	mu     sync.Mutex
	answer []byte
	end    bool // the answer ends with the connection
	conns  []net.Conn
	wg     sync.WaitGroup
}

func newHostile(tb testing.TB) *hostile {
	p := &hostile{Listener: walktest.Listen(tb)}
	p.wg.Go(func() {
		for {
			conn, err := p.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, conn)
			p.mu.Unlock()
			p.wg.Go(func() { p.serve(conn) })
		}
	})
	tb.Cleanup(func() {
		p.Close()
		p.say(nil, false)
		p.wg.Wait()
	})
	return p
}

// say sets the answer and ends all connections there are.
func (p *hostile) say(answer []byte, end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns, p.answer, p.end = nil, answer, end
}

func (p *hostile) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		answer, end := []byte(good(req.URL.Path)), false
		if req.URL.Path == "/first" {
			p.mu.Lock()
			answer, end = p.answer, p.end
			p.mu.Unlock()
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
		if end {
			_ = conn.(*net.TCPConn).CloseWrite() // the next read tells
		}
	}
}

func good(path string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\ngood %s", len("good ")+len(path), path)
}

// answer is what a client has got.
type answer struct {
	informed []int
	*http.Response
	body []byte
	err  error // of the body
}

// read reads the answer to one request as net/http does.
func read(r *bufio.Reader, method string) (a answer, err error) {
	for {
		a.Response, err = http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return a, err
		}
		if a.StatusCode >= 200 || a.StatusCode == http.StatusSwitchingProtocols {
			a.body, a.err = io.ReadAll(a.Body)
			return a, nil
		}
		a.informed = append(a.informed, a.StatusCode)
	}
}

// visit asks for path and then, where the connection lasts, for another one that has to be answered properly. Nothing else may come.
func visit(addr, method, path string) (a answer, err error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return a, err
	}
	length := map[bool]string{true: "Content-Length: 0\r\n"}[method == "POST"]
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: a\r\n%s\r\n", method, path, length); err != nil {
		return a, err
	}
	r := bufio.NewReader(conn)
	if a, err = read(r, method); errors.Is(err, syscall.ECONNRESET) {
		return a, nil // refused, after a part of it had been passed on
	} else if err != nil {
		return a, fmt.Errorf("the sidecar answers what is no response: %w", err)
	}
	if timeout, ok := errors.AsType[net.Error](a.err); ok && timeout.Timeout() {
		return a, fmt.Errorf("the connection hangs within the body, after %q", a.body)
	}
	if a.err == nil && !a.Close {
		if _, err := io.WriteString(conn, "GET /again HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
			return a, err
		}
		again, err := read(r, "GET")
		if err != nil || string(again.body) != "good /again" {
			return a, fmt.Errorf("the next request on the connection gets %+v, %q, %w", again.Response, again.body, err)
		}
	}
	rest, err := io.ReadAll(r)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || len(rest) > 0 {
		return a, fmt.Errorf("after the last answer there is %q, %w", rest, err)
	}
	return a, nil
}

// accepted compares what came through with what net/http makes of the program's bytes by itself.
func accepted(got, want answer, wantErr error) error {
	if got.Response == nil || got.Header.Get("Weft-Error") != "" && (got.StatusCode == 502 || got.StatusCode == 503) {
		return nil // refused
	}
	switch {
	case wantErr != nil:
		return fmt.Errorf("net/http sees no response (%w), the sidecar relays one: %+v", wantErr, got.Response)
	case got.StatusCode != want.StatusCode || !slices.Equal(got.informed, want.informed):
		return fmt.Errorf("status %v %d, net/http sees %v %d", got.informed, got.StatusCode, want.informed, want.StatusCode)
	case got.err != nil && !bytes.HasPrefix(want.body, got.body), got.err == nil && (want.err != nil || !bytes.Equal(want.body, got.body)):
		return fmt.Errorf("body %q, %w; net/http sees %q, %w", got.body, got.err, want.body, want.err)
	}
	for name, values := range got.Header {
		if name != "Connection" && name != "Upgrade" && name != "Content-Length" && !slices.Equal(values, want.Header[name]) {
			return fmt.Errorf("field %s %q, net/http sees %q", name, values, want.Header[name])
		}
	}
	for name, values := range got.Trailer {
		if len(values) > 0 && !slices.Equal(values, want.Trailer[name]) {
			return fmt.Errorf("trailer %s %q, net/http sees %q", name, values, want.Trailer[name])
		}
	}
	return nil
}

// FuzzResponses: a program's bytes reach the client as the response that net/http would see, or as an error, and what comes behind
// that response reaches nobody, neither this client nor the next.
func FuzzResponses(f *testing.F) {
	program := newHostile(f)
	m := walktest.New(f)
	m.Service("alone", table.HTTP)
	m.Add(walktest.Plain("alone", "alone-1", program.Addr()))
	m.Service("pair", table.HTTP)
	m.Workload("pair", "pair-1", program.Addr(), m.Allow("shop"))
	c := m.Client("shop")
	ways := map[string]string{"an outbound sidecar": c.Upstream("alone"), "a pair": c.Upstream("pair")}
	f.Fuzz(func(t *testing.T, data []byte, head, end bool) {
		if len(data) > 200<<10 {
			return
		}
		method := map[bool]string{true: "HEAD", false: "POST"}[head]
		want, wantErr := read(bufio.NewReader(bytes.NewReader(data)), method)
		// Where more would have to come, the end of the connection comes.
		end = end || wantErr != nil || want.err != nil || !head && want.ContentLength < 0 && !slices.Contains(want.TransferEncoding, "chunked")
		for name, addr := range ways {
			program.say(data, end)
			got, err := visit(addr, method, "/first")
			if err == nil {
				err = accepted(got, want, wantErr)
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if next, err := visit(addr, "GET", "/second"); err != nil || string(next.body) != "good /second" {
				t.Fatalf("%s: the next client gets %+v, %q, %v", name, next.Response, next.body, err)
			}
		}
	})
}
