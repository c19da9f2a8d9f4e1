package walktest

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// cutOff ends a connection by a reset.
func cutOff(c net.Conn) {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// descriptors is how many the process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// fault runs a test over every way to app and fails when descriptors or buffers are left.
func fault(t *testing.T, app func(net.Conn), test func(*testing.T, *walk)) {
	before := descriptors(t)
	walks(t, table.HTTP, raw(app), func(t *testing.T, w *walk) {
		test(t, w)
		if err := w.drain(t.Context()); err != nil {
			t.Error(err)
		}
		if n := w.buffered(); n != 0 {
			t.Errorf("%d bytes of buffers are still held", n)
		}
	})
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors are open, %d were before", after, before)
	}
}

const upload = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"

// TestFaultServerResets: the program's connection is reset at each stage of an exchange.
func TestFaultServerResets(t *testing.T) {
	for _, tt := range []struct {
		name string
		app  func(net.Conn, *bufio.Reader)
		want string // how what the client gets begins
	}{
		{"before it reads", func(net.Conn, *bufio.Reader) {}, "HTTP/1.1 50"}, // so early that it may be the connecting that fails
		{"within the request's head", func(_ net.Conn, r *bufio.Reader) { r.ReadByte() }, "HTTP/1.1 502 "},
		{"before its response", func(_ net.Conn, r *bufio.Reader) { http.ReadRequest(r) }, "HTTP/1.1 502 "},
		{"within its response's head", func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-")
		}, "HTTP/1.1 502 "},
		{"within its response's body", func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		}, ""}, // a reset may overtake what was sent before it
	} {
		t.Run(tt.name, func(t *testing.T) {
			app := func(c net.Conn) {
				tt.app(c, bufio.NewReaderSize(c, 16))
				cutOff(c)
			}
			fault(t, app, func(t *testing.T, w *walk) {
				c := dial(t, w.addr)
				io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
				if got := read(c); !strings.HasPrefix(got, tt.want) {
					t.Errorf("got %q", got)
				}
				records := w.records
				if w.to != nil { // that sidecar answers
					records = w.to.Records
				}
				if rec := records.Wait(1)[0]; rec.Reason != flow.UpstreamReset && !(rec.Reason == flow.Connect && tt.want == "HTTP/1.1 50") {
					t.Errorf("record %+v", rec)
				}
			})
		})
	}
}

// read takes one answer, or what there is of it, and closes.
func read(c net.Conn) string {
	defer c.Close()
	buf := make([]byte, 4096)
	n, _ := c.Read(buf)
	return string(buf[:n])
}

// TestFaultClientResets: the client's connection is reset at each stage of an exchange. Its program hears of the end in every case.
func TestFaultClientResets(t *testing.T) {
	for _, tt := range []struct {
		name, send string
		seen       string // what the program reads, at least, before the client leaves
		answer     string
		whole      bool // the request is; the client leaves when it has seen something of the answer
	}{
		{name: "within the head", send: "POST / HTTP/1.1\r\nHo"},
		{name: "within the body", send: upload + "some", seen: "some"},
		{name: "before the response", send: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", seen: "hi"},
		{name: "within the response", send: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", seen: "\r\n\r\n", answer: "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", whole: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen := make(chan struct{}, 10)
			leave := make(chan struct{}, 10)
			app := func(c net.Conn) {
				if !await(c, tt.seen) {
					return
				}
				seen <- struct{}{}
				if tt.answer == "" {
					<-leave
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
				}
				io.WriteString(c, tt.answer)
				for piece := make([]byte, 10_000); ; { // until nobody takes it any more
					if _, err := c.Write(piece); err != nil {
						return
					}
				}
			}
			fault(t, app, func(t *testing.T, w *walk) {
				c := dial(t, w.addr)
				io.WriteString(c, tt.send)
				if tt.seen != "" {
					<-seen
				}
				if tt.whole {
					io.ReadFull(c, make([]byte, 1000))
				}
				cutOff(c)
				leave <- struct{}{}
				if rec := w.records.Wait(1)[0]; rec.Reason != flow.ClientGone {
					t.Errorf("record %+v", rec)
				}
				select {
				case <-leave:
				default:
				}
			})
		})
	}
}

// await reads until a text has come.
func await(c net.Conn, text string) bool {
	r := bufio.NewReader(c)
	for got := ""; ; {
		b, err := r.ReadByte()
		if err != nil {
			return false
		}
		if got += string(b); strings.HasSuffix(got, text) {
			return true
		}
	}
}

// TestFaultPausedServer: a program that stops reading and answering, as one that is stopped by a signal does, costs its callers the
// time of their route, and others nothing. One that goes on in time has only been slow.
func TestFaultPausedServer(t *testing.T) {
	resume := make(chan struct{}, 10)
	app := func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			switch req.URL.Path {
			case "/paused":
				<-resume
				return
			case "/slow":
				<-resume
			}
			io.Copy(io.Discard, req.Body)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}
	before := descriptors(t)
	walks(t, table.HTTP, raw(app), func(t *testing.T, w *walk) {
		cl, other := client(t), client(t)
		if w.hop == "outbound" {
			w.mesh.Change(func(_ *table.Mesh, services map[string]*table.Service) {
				services["default/web"].Rules[0].Timeout = 500 * time.Millisecond
			})
			resp, err := cl.Post("http://"+w.addr+"/paused", "text/plain", strings.NewReader(strings.Repeat("x", 10)))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 504 || !strings.Contains(resp.Header.Get("weft-error"), "reason=timeout,") {
				t.Errorf("got %d %q", resp.StatusCode, resp.Header.Get("weft-error"))
			}
			if rec := w.records.Wait(1)[0]; rec.Reason != flow.Timeout {
				t.Errorf("record %+v", rec)
			}
			resume <- struct{}{}
			w.mesh.Change(func(_ *table.Mesh, services map[string]*table.Service) { services["default/web"].Rules[0].Timeout = 0 })
		}
		slow := make(chan error, 1)
		go func() {
			resp, err := cl.Post("http://"+w.addr+"/slow", "text/plain", strings.NewReader(strings.Repeat("x", 1<<20)))
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode != 200 {
					err = errors.New(resp.Status)
				}
			}
			slow <- err
		}()
		for range bystanding {
			if resp, _ := get(t, other, "http://"+w.addr+"/other"); resp.StatusCode != 200 {
				t.Errorf("a bystander got %d", resp.StatusCode)
			}
		}
		resume <- struct{}{}
		if err := <-slow; err != nil {
			t.Errorf("one that was only slow: %v", err)
		}
		cl.CloseIdleConnections()
		other.CloseIdleConnections()
	})
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors are open, %d were before", after, before)
	}
}

// TestFaultNoDescriptors: without file descriptors no endpoint can be dialled, which is said, and no client is accepted, who waits.
// With descriptors again both are served.
func TestFaultNoDescriptors(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	m.Add(Plain("web", "web-1", server(t, echo)))
	c := m.Client("shop")
	url := "http://" + c.Upstream("web")
	cl := client(t)
	if resp, _ := get(t, cl, url); resp.StatusCode != 200 {
		t.Fatalf("at first: %d", resp.StatusCode)
	}
	// An endpoint to which there is no connection yet.
	next := Plain("web", "web-2", server(t, echo))
	m.Change(func(_ *table.Mesh, services map[string]*table.Service) {
		services["default/web"].Rules[0].Backends[0].Set.Endpoints = []*table.Endpoint{next}
	})
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	waiting := os.NewFile(uintptr(fd), "a client's socket")
	defer waiting.Close()
	more := noDescriptors(t)
	resp, _ := get(t, cl, url)
	if resp.StatusCode != 503 || !strings.Contains(resp.Header.Get("weft-error"), "reason=connect,") {
		t.Errorf("without descriptors: %d %q", resp.StatusCode, resp.Header.Get("weft-error"))
	}
	if rec := c.Records.Wait(2)[1]; rec.Reason != flow.Connect || !errors.Is(rec.Err, syscall.EMFILE) {
		t.Errorf("record %+v", rec)
	}
	at := netip.MustParseAddrPort(strings.TrimPrefix(url, "http://"))
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(waiting, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	more()
	if got, err := io.ReadAll(waiting); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 ") {
		t.Errorf("who waited got %q, %v", got, err)
	}
	if resp, _ := get(t, cl, url); resp.StatusCode != 200 {
		t.Errorf("with descriptors again: %d %q", resp.StatusCode, resp.Header.Get("weft-error"))
	}
}

// noDescriptors lets the process open none until more is called.
func noDescriptors(t *testing.T) (more func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	more = func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(more)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	return more
}
