package walktest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "

// TestR8_AnyProtocolWithHalfClose: what follows the switch is bytes, in both directions at once, and the end of one direction
// does not end the other.
func TestR8_AnyProtocolWithHalfClose(t *testing.T) {
	app := raw(func(c net.Conn) {
		r := bufio.NewReader(c)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		io.WriteString(c, switching+"tally/2\r\n\r\nready\n")
		n, _ := io.Copy(io.Discard, r)
		io.WriteString(c, strings.Repeat("x", int(n)))
	})
	walks(t, table.HTTP, app, func(t *testing.T, w *walk) {
		c := dial(t, w.addr)
		// The first bytes of the new protocol may come with the request, before the server has agreed.
		io.WriteString(c, "GET /count HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: tally/2, tally/1\r\n\r\nearly")
		io.WriteString(c, strings.Repeat("y", 100_000))
		c.CloseWrite()
		got, err := io.ReadAll(c)
		want := switching + "tally/2\r\n\r\nready\n" + strings.Repeat("x", 100_005)
		if err != nil || string(got) != want {
			t.Errorf("got %d bytes, want %d, %v", len(got), len(want), err)
		}
		c.Close()
		if rec := w.records.Wait(1)[0]; rec.Status != 101 || rec.Reason != flow.None || rec.BytesSent != 100_005 || rec.BytesReceived != 100_011 {
			t.Errorf("record %+v", rec)
		}
	})
}

// TestR8_HTTP2NeedsNoUpgrade: an upgrade to HTTP/2 would be a way round every rule. It is not passed on, and a server that
// switches all the same is cut off.
func TestR8_HTTP2NeedsNoUpgrade(t *testing.T) {
	for name, tt := range map[string]struct{ asked, answer, want string }{
		"stripped":              {"h2c", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 "},
		"switched all the same": {"h2c", switching + "h2c\r\n\r\n", "HTTP/1.1 502 "},
		"switched to another":   {"h2c, websocket", switching + "h2c\r\n\r\n", "HTTP/1.1 502 "},
		"the other is served":   {"h2c, websocket", switching + "websocket\r\n\r\n", "HTTP/1.1 101 "},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan *http.Request, 4)
			app := raw(func(c net.Conn) {
				req, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				seen <- req
				io.WriteString(c, tt.answer)
			})
			walks(t, table.HTTP, app, func(t *testing.T, w *walk) {
				got := exchange(t, w.addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: "+tt.asked+"\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
				if !strings.HasPrefix(got, tt.want) {
					t.Errorf("got %q", got)
				}
				req := <-seen
				if strings.Contains(req.Header.Get("Upgrade"), "h2c") || req.Header.Get("HTTP2-Settings") != "" || strings.Contains(req.Header.Get("Connection"), "HTTP2") {
					t.Errorf("the program was told %v", req.Header)
				}
			})
		})
	}
}

// TestR8_UpgradeWithABodyIsAnOrdinaryRequest, because it would not be clear whose the bytes after the head are.
func TestR8_UpgradeWithABodyIsAnOrdinaryRequest(t *testing.T) {
	app := handler(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		io.WriteString(w, r.Header.Get("Upgrade")+"|"+string(body))
	})
	walks(t, table.HTTP, app, func(t *testing.T, w *walk) {
		const body = "GET /private HTTP/1.1\r\n\r\n"
		got := exchange(t, w.addr, fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: %d\r\n\r\n%s", len(body), body)+
			"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if strings.Count(got, "HTTP/1.1 200 OK") != 2 || !strings.Contains(got, "|"+body) {
			t.Errorf("got %q", got)
		}
	})
}

// TestR8_ConnectIsRefused: what a tunnel carries could not be judged, so that none is opened, in either version.
func TestR8_ConnectIsRefused(t *testing.T) {
	t.Run("HTTP1", func(t *testing.T) {
		walks(t, table.HTTP, handler(echo), func(t *testing.T, w *walk) {
			got := exchange(t, w.addr, "CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\nGET /private HTTP/1.1\r\nHost: a\r\n\r\n")
			if !strings.HasPrefix(got, "HTTP/1.1 405 Method Not Allowed\r\n") || !strings.Contains(got, "\r\nAllow: GET, ") ||
				!strings.Contains(got, "reason=tunnel, ") || !strings.Contains(got, "\r\n\r\nweft "+w.hop+": tunnel: CONNECT is not served") {
				t.Errorf("got %q", got)
			}
			if rec := w.records.Wait(1)[0]; rec.Reason != flow.Tunnel || rec.Tries != 0 {
				t.Errorf("record %+v", rec)
			}
		})
	})
	for name, more := range map[string][]string{
		"HTTP2":          nil,
		"extended HTTP2": {":protocol", "websocket", ":scheme", "http", ":path", "/chat", "sec-websocket-version", "13"},
	} {
		t.Run(name, func(t *testing.T) {
			walks(t, table.HTTP2, handler2(echo), func(t *testing.T, w *walk) {
				head, body := ask2(t, w.addr, append([]string{":method", "CONNECT", ":authority", "other:443"}, more...)...)
				if head[":status"] != "405" || !strings.HasPrefix(head["allow"], "GET, ") || !strings.HasPrefix(head["weft-error"], "hop="+w.hop+", reason=tunnel, ") ||
					!strings.HasPrefix(body, "weft "+w.hop+": tunnel: CONNECT is not served") {
					t.Errorf("got %v %q", head, body)
				}
				if rec := w.records.Wait(1)[0]; rec.Reason != flow.Tunnel || rec.Tries != 0 {
					t.Errorf("record %+v", rec)
				}
			})
		})
	}
}

// ask2 sends one request without a body by hand and returns the response's head and body.
func ask2(t *testing.T, addr string, pairs ...string) (head map[string]string, body string) {
	t.Helper()
	c := dial(t, addr)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(pairs); i += 2 {
		enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	fr.WriteSettings()
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	head = map[string]string{}
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			for _, field := range f.Fields {
				head[field.Name] = field.Value
			}
		case *http2.DataFrame:
			if body += string(f.Data()); f.StreamEnded() {
				return head, body
			}
		case *http2.RSTStreamFrame:
			t.Fatalf("reset by %v", f.ErrCode)
		}
	}
}
