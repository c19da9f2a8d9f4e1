package walktest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// old answers as programs of HTTP/1.0 do: the end of the connection ends the response, or with "/keep" its length does.
func old(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, _ := io.ReadAll(req.Body)
		text := fmt.Sprintf("%s %s %s", req.Method, req.URL.Path, body)
		if req.URL.Path != "/keep" {
			io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\n"+text)
			return
		}
		fmt.Fprintf(c, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	}
}

func TestR8_ServersOfHTTP10(t *testing.T) {
	walks(t, table.HTTP, raw(old), func(t *testing.T, w *walk) {
		cl := client(t)
		for range 3 {
			for _, path := range []string{"/", "/keep"} {
				resp, err := cl.Post("http://"+w.addr+path, "text/plain", strings.NewReader("body"))
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(body) != "POST "+path+" body" {
					t.Errorf("got %q, %v", body, err)
				}
			}
		}
		for _, rec := range w.records.Wait(6) {
			if rec.Reason != flow.None || rec.Tries != 1 {
				t.Errorf("record %+v", rec)
			}
		}
	})
}

func TestR8_ClientsOfHTTP10(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush() // chunked
		fmt.Fprintf(w, "%s %s %s %s", r.Proto, r.Host, r.URL.Path, body)
		w.Header().Set("X-Sum", "1")
	}
	walks(t, table.HTTP, handler(app), func(t *testing.T, w *walk) {
		for send, want := range map[string]string{
			"GET /a HTTP/1.0\r\n\r\n": "HTTP/1.1 " + w.host + " /a ",
			"GET /b HTTP/1.0\r\nHost: shop\r\nConnection: keep-alive\r\n\r\n":                 "HTTP/1.1 shop /b ",
			"POST /c HTTP/1.0\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody":       "HTTP/1.1 " + w.host + " /c body",
			"GET http://other/d HTTP/1.0\r\nHost: shop\r\nTE: trailers\r\n\r\n":               "HTTP/1.1 other /d ",
			"GET /e HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\nHost: s\r\n\r\n": "HTTP/1.1 s /e ",
		} {
			got := exchange(t, w.addr, send)
			head, body, _ := strings.Cut(got, "\r\n\r\n")
			if !strings.HasPrefix(head, "HTTP/1.1 200 OK") || !strings.Contains(head, "\r\nConnection: close") || strings.Contains(head, "chunked") || body != want {
				t.Errorf("%q: got %q", send, got)
			}
		}
	})
}

// TestR8_KeepAliveOfHTTP10: a response whose end is known leaves the connection open to a client of HTTP/1.0 that asks so.
func TestR8_KeepAliveOfHTTP10(t *testing.T) {
	walks(t, table.HTTP, handler(echo), func(t *testing.T, w *walk) {
		one := "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
		got := exchange(t, w.addr, one+one+"GET /y HTTP/1.0\r\n\r\n")
		if strings.Count(got, "Connection: keep-alive\r\n") != 2 || strings.Count(got, "Connection: close\r\n") != 1 || !strings.HasSuffix(got, "GET /y ") {
			t.Errorf("got %q", got)
		}
	})
}

// TestR8_ResponsesWithoutABody: HEAD, 204 and 304 have none, whatever their heads say, and what follows is the next response.
func TestR8_ResponsesWithoutABody(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/304":
			w.Header().Set("ETag", `"1"`)
			if r.ProtoMajor == 1 { // net/http's client of HTTP/2 misses a body then
				w.Header().Set("Content-Length", "1000")
			}
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("Content-Length", "1000")
			if r.Method != http.MethodHead {
				io.WriteString(w, strings.Repeat("x", 1000))
			}
		}
	}
	versions(t, app, func(t *testing.T, w *walk, cl *http.Client) {
		for _, tt := range []struct {
			method, path string
			status, body int
			length       int64
		}{
			{"HEAD", "/", 200, 0, 1000}, {"GET", "/", 200, 1000, 1000}, {"GET", "/204", 204, 0, 0}, {"GET", "/304", 304, 0, -1}, {"HEAD", "/304", 304, 0, -1}, {"GET", "/", 200, 1000, 1000},
		} {
			req, _ := http.NewRequest(tt.method, "http://"+w.addr+tt.path, nil)
			resp, err := cl.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != tt.status || len(body) != tt.body || tt.length >= 0 && resp.ContentLength != tt.length {
				t.Errorf("%s %s: got %d, %d bytes, length %d, %v", tt.method, tt.path, resp.StatusCode, len(body), resp.ContentLength, err)
			}
		}
		// A second one is dialled when the client is back before the first has been given to the pool. Were any of these
		// answers read wrongly, there would be one for each of the four without a body.
		if w.dialled != nil && w.dialled() > 2 {
			t.Errorf("%d connections", w.dialled())
		}
	})
}
