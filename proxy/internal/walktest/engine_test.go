package walktest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// plainWeb is a mesh of one service without sidecars, for what only the engine does.
func plainWeb(t *testing.T, app net.Addr) (*Client, string) {
	t.Helper()
	m := New(t)
	m.Service("web", table.HTTP)
	m.Add(Plain("web", "web-1", app))
	c := m.Client("shop")
	return c, c.Upstream("web")
}

// script answers the n-th request of every connection with the n-th text.
func script(t *testing.T, answers ...string) net.Addr {
	return program(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for _, answer := range answers {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			io.WriteString(c, answer)
		}
	})
}

// exchange sends raw bytes, ends the sending direction and returns all that comes back.
func exchange(t *testing.T, addr, raw string) string {
	t.Helper()
	c := dial(t, addr)
	go func() {
		io.WriteString(c, raw)
		c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("after %q: %v", got, err)
	}
	return string(got)
}

func TestRawExchanges(t *testing.T) {
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	get := "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	tests := []struct {
		name, answer, send, want string
	}{
		{"half-closed client gets its response", ok, get, ok},
		{"pipelined requests are answered in order", "", get + "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + get, ""},
		{"close is answered by close", ok, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"},
		{"HTTP/1.0 is closed", ok, "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"},
		{"HTTP/1.0 keep-alive is told", ok, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"},
		{"chunked is taken apart for HTTP/1.0", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"},
		{"close-delimited becomes chunked", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
		{"trailers are passed on", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n2;e=f\r\nok\r\n0\r\nX: y\r\n\r\n", get,
			"HTTP/1.1 200 OK\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n"},
		{"HEAD has no body", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"},
		{"204 has no body", "HTTP/1.1 204 No Content\r\n\r\n", get, "HTTP/1.1 204 No Content\r\n\r\n"},
		{"early hints are relayed", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + ok, get,
			"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + ok},
		{"empty lines before a request", ok, "\r\n\r\n" + get, ok},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.answer == "" {
				_, addr := plainWeb(t, script(t, ok, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", ok))
				if got := exchange(t, addr, tt.send); got != ok+"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"+ok {
					t.Errorf("got %q", got)
				}
				return
			}
			_, addr := plainWeb(t, script(t, tt.answer))
			if got := exchange(t, addr, tt.send); got != tt.want {
				t.Errorf("want %q\ngot  %q", tt.want, got)
			}
		})
	}
}

func TestBadRequestsAreRefused(t *testing.T) {
	tests := []struct {
		name, send, status string
		reason             flow.Reason
	}{
		{"CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "405 ", flow.Tunnel},
		{"smuggling", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a\r\n\r\n", "400 ", flow.BadRequest},
		{"bare LF", "GET / HTTP/1.1\nHost: a\n\n", "400 ", flow.BadRequest},
		{"long target", "GET /" + strings.Repeat("a", 17<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", "414 ", flow.TooLarge},
		{"large head", "GET / HTTP/1.1\r\nHost: a\r\nx: " + strings.Repeat("a", 70<<10) + "\r\n\r\n", "431 ", flow.TooLarge},
		{"not HTTP", "hello\r\n\r\n", "400 ", flow.BadRequest},
		{"bad chunk", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400 ", flow.BadRequest},
		{"long trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n\r\n", "431 ", flow.TooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, addr := plainWeb(t, server(t, echo))
			got := exchange(t, addr, tt.send)
			if !strings.HasPrefix(got, "HTTP/1.1 "+tt.status) || !strings.Contains(got, "\r\nweft-error: hop=outbound, reason="+tt.reason.String()+", id=") || strings.Count(got, "HTTP/1.1") != 1 {
				t.Errorf("got %q", got)
			}
			if rec := c.Records.Wait(1)[0]; rec.Reason != tt.reason {
				t.Errorf("record %+v", rec)
			}
		})
	}
}

func TestBadResponsesAreRefused(t *testing.T) {
	for name, answer := range map[string]string{
		"smuggling":                    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"nonsense":                     "hello\r\n\r\n",
		"bare LF":                      "HTTP/1.1 200 OK\n\n",
		"switch that nobody asked for": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"endless 1xx":                  strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 20),
		"malformed chunk":              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, addr := plainWeb(t, script(t, answer))
			got := exchange(t, addr, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
			if !strings.Contains(got, "HTTP/1.1 502 ") || !strings.Contains(got, "reason=upstream_protocol") {
				t.Errorf("got %q", got)
			}
			if rec := c.Records.Wait(1)[0]; rec.Reason != flow.UpstreamProtocol {
				t.Errorf("record %+v", rec)
			}
		})
	}
}

func TestTruncatedResponseIsNotTakenForComplete(t *testing.T) {
	for name, answer := range map[string]string{
		"sized":   "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, addr := plainWeb(t, script(t, answer))
			resp, err := client(t).Get("http://" + addr)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if err == nil {
				t.Error("the client took it for complete")
			}
			if rec := c.Records.Wait(1)[0]; rec.Reason != flow.UpstreamReset || rec.Status != 200 {
				t.Errorf("record %+v", rec)
			}
		})
	}
}

// TestConnectionWithExtraBytesIsNotReused: whatever a program says behind its response is for nobody, also where the response ends
// just where the sidecar's buffer does, so that the rest stays in the socket.
func TestConnectionWithExtraBytesIsNotReused(t *testing.T) {
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	for name, length := range map[string]int{"short": 0, "as long as a small buffer": wire.Small, "as long as a medium buffer": wire.Medium} {
		t.Run(name, func(t *testing.T) {
			const head, body = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: ", "\r\n\r\nok"
			extra := head + strings.Repeat("x", max(length-len(head+body), 0)) + body + evil
			c, addr := plainWeb(t, script(t, extra, extra))
			cl := client(t)
			for range 3 {
				if _, body := get(t, cl, "http://"+addr); body != "ok" {
					t.Errorf("got %q", body)
				}
			}
			if n := c.Outbound.Connections().Dialled.Load(); n != 3 {
				t.Errorf("%d connections for 3 requests", n)
			}
		})
	}
}

func TestExpectContinue(t *testing.T) {
	c, addr := plainWeb(t, server(t, echo))
	conn := dial(t, addr)
	r := bufio.NewReader(conn)
	io.WriteString(conn, "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	r.ReadString('\n')
	io.WriteString(conn, "body")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); string(body) != "PUT /x body" {
		t.Errorf("got %q", body)
	}
	if rec := c.Records.Wait(1)[0]; rec.BytesSent != 4 || rec.Reason != flow.None {
		t.Errorf("record %+v", rec)
	}
}

func TestEarlyResponseEndsTheUpload(t *testing.T) {
	early := "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
	c, addr := plainWeb(t, program(t, func(c net.Conn) {
		bufio.NewReader(c).ReadString('\n')
		io.WriteString(c, early)
		io.Copy(io.Discard, c)
	}))
	conn := dial(t, addr)
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
	io.WriteString(conn, strings.Repeat("x", 1000))
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != early {
		t.Errorf("got %q, %v", got, err)
	}
	if rec := c.Records.Wait(1)[0]; rec.Status != 413 || rec.Reason != flow.None {
		t.Errorf("record %+v", rec)
	}
}

func TestConversation(t *testing.T) {
	// The server answers each chunk before the next is sent: nothing may be held back.
	c, addr := plainWeb(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		buf := make([]byte, 64)
		for {
			n, err := r.Body.Read(buf)
			fmt.Fprintf(w, "<%s>", buf[:n])
			rc.Flush()
			if err != nil {
				return
			}
		}
	}))
	pr, pw := io.Pipe()
	req, _ := http.NewRequest("POST", "http://"+addr, pr)
	go io.WriteString(pw, "one")
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 64)
	for _, word := range []string{"two", "three"} {
		n, err := resp.Body.Read(buf)
		if err != nil || !strings.Contains(string(buf[:n]), "<") {
			t.Fatalf("got %q, %v", buf[:n], err)
		}
		io.WriteString(pw, word)
	}
	pw.Close()
	io.ReadAll(resp.Body)
	if rec := c.Records.Wait(1)[0]; rec.BytesSent != int64(len("onetwothree")) {
		t.Errorf("record %+v", rec)
	}
}

func TestUpgradeIsRelayed(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	m.Workload("web", "web-1", program(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
		line, _ := r.ReadString('\n')
		io.WriteString(c, "echo "+line)
	}), m.Allow("shop"))
	c := m.Client("shop")
	conn := dial(t, c.Upstream("web"))
	io.WriteString(conn, "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi\n")
	got, err := io.ReadAll(conn)
	want := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirstecho hi\n"
	if err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	conn.Close()
	if rec := c.Records.Wait(1)[0]; rec.Status != 101 || rec.BytesSent != 3 || rec.BytesReceived != int64(len("firstecho hi\n")) {
		t.Errorf("record %+v", rec)
	}
}

func TestFailuresAreReadable(t *testing.T) {
	m := New(t)
	m.Service("empty", table.HTTP)
	m.Service("broken", table.HTTP)
	m.Service("other", table.HTTP)
	m.Service("naked", table.HTTP)
	m.Add(Plain("naked", "naked-1", server(t, echo)))
	m.Add(Plain("other", "other-1", Refusing(t)))
	m.Change(func(mesh *table.Mesh, services map[string]*table.Service) {
		mesh.MTLS = table.Strict
		services["default/broken"].Rules[0].Backends[0].Set = nil
	})
	c := m.Client("shop")
	for service, want := range map[string]struct {
		status int
		reason string
	}{
		"empty":  {503, "no_endpoint"},
		"broken": {503, "no_backend"},
		"nobody": {404, "no_route"},
		"naked":  {403, "plaintext"},
	} {
		resp, body := get(t, client(t), "http://"+c.Upstream(service))
		if resp.StatusCode != want.status || !strings.Contains(resp.Header.Get("weft-error"), "reason="+want.reason+",") || !strings.HasPrefix(body, "weft outbound: "+want.reason+": ") {
			t.Errorf("%s: got %d %q %q", service, resp.StatusCode, resp.Header.Get("weft-error"), body)
		}
	}
	m.Change(func(mesh *table.Mesh, _ map[string]*table.Service) { mesh.MTLS = table.Permissive })
	if resp, _ := get(t, client(t), "http://"+c.Upstream("other")); resp.StatusCode != 503 || !strings.Contains(resp.Header.Get("weft-error"), "reason=connect,") {
		t.Errorf("got %d %q", resp.StatusCode, resp.Header.Get("weft-error"))
	}
	if got := c.Records.Wait(5); len(got) != 5 {
		t.Errorf("%d records", len(got))
	}
	c.Tables.Store(nil)
	begin := time.Now()
	resp, _ := get(t, client(t), "http://"+c.Upstream("empty"))
	if resp.StatusCode != 503 || !strings.Contains(resp.Header.Get("weft-error"), "reason=not_ready,") {
		t.Errorf("after %v: got %d %q", time.Since(begin), resp.StatusCode, resp.Header.Get("weft-error"))
	}
}
