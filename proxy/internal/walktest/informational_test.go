package walktest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// informed makes a request that notes the 1xx responses to it.
func informed(t *testing.T, method, url string, body io.Reader) (*http.Request, *[]string) {
	var got []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		got = append(got, fmt.Sprint(code, " ", header.Get("Link")))
		return nil
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req, &got
}

func TestR8_InformationalResponsesAreRelayed(t *testing.T) {
	app := func(w http.ResponseWriter, _ *http.Request) {
		for _, link := range []string{"</a.css>", "</b.css>"} {
			w.Header().Set("Link", link)
			w.WriteHeader(http.StatusEarlyHints)
		}
		w.WriteHeader(http.StatusProcessing)
		io.WriteString(w, "final")
	}
	versions(t, app, func(t *testing.T, w *walk, cl *http.Client) {
		for range 2 { // the connection can be used again
			req, got := informed(t, "GET", "http://"+w.addr+"/", nil)
			resp, err := cl.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			want := []string{"103 </a.css>", "103 </b.css>", "102 </b.css>"}
			if resp.StatusCode != 200 || string(body) != "final" || !slices.Equal(*got, want) {
				t.Errorf("got %v, then %d %q", *got, resp.StatusCode, body)
			}
		}
	})
}

func TestR8_InformationalResponsesAreBounded(t *testing.T) {
	app := func(w http.ResponseWriter, _ *http.Request) {
		for range 11 {
			w.WriteHeader(http.StatusEarlyHints)
		}
		io.WriteString(w, "final")
	}
	versions(t, app, func(t *testing.T, w *walk, cl *http.Client) {
		// As a POST it is not tried again.
		req, got := informed(t, "POST", "http://"+w.addr+"/", nil)
		if resp, err := cl.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode != 502 || !strings.Contains(resp.Header.Get("weft-error"), "reason=upstream_protocol,") {
				t.Errorf("got %v, then %d %q", *got, resp.StatusCode, resp.Header.Get("weft-error"))
			}
		} else {
			t.Error(err)
		}
	})
}

// TestR8_ContinueIsTheServersWord: nothing of the body moves before the server says 100, and its 100 reaches the client. The
// client's body is a pipe that is filled only when the client has heard it.
func TestR8_ContinueIsTheServersWord(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 && r.Header.Get("Expect") != "100-continue" { // net/http hides it for HTTP/2
			http.Error(w, "not told of the expectation", http.StatusTeapot)
			return
		}
		body, _ := io.ReadAll(r.Body) // asks for the body
		fmt.Fprintf(w, "%d", len(body))
	}
	versions(t, app, func(t *testing.T, w *walk, cl *http.Client) {
		cl.Transport.(*http.Transport).ExpectContinueTimeout = forever
		for _, size := range []int{10, 300_000} {
			req, got := informed(t, "POST", "http://"+w.addr+"/", strings.NewReader(strings.Repeat("x", size)))
			req.Header.Set("Expect", "100-continue")
			resp, err := cl.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 200 || string(body) != fmt.Sprint(size) || !slices.Equal(*got, []string{"100 "}) {
				t.Errorf("%d bytes: got %v, then %d %q", size, *got, resp.StatusCode, body)
			}
		}
		for i, rec := range w.records.Wait(2) {
			if rec.Reason != flow.None || rec.BytesSent != []int64{10, 300_000}[i] {
				t.Errorf("record %+v", rec)
			}
		}
	})
}

// TestR8_FinalStatusInsteadOfContinue: a server that does not want the body says so before it comes, and it is never sent.
func TestR8_FinalStatusInsteadOfContinue(t *testing.T) {
	app := func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "too large for me", http.StatusRequestEntityTooLarge)
	}
	versions(t, app, func(t *testing.T, w *walk, cl *http.Client) {
		cl.Transport.(*http.Transport).ExpectContinueTimeout = forever
		for range 2 {
			req, _ := informed(t, "POST", "http://"+w.addr+"/", &forbidden{})
			req.ContentLength = 1 << 30
			req.Header.Set("Expect", "100-continue")
			resp, err := cl.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 413 || string(body) != "too large for me\n" {
				t.Errorf("got %d %q", resp.StatusCode, body)
			}
		}
		for _, rec := range w.records.Wait(2) {
			if rec.Status != 413 || rec.BytesSent != 0 || rec.Reason != flow.None {
				t.Errorf("record %+v", rec)
			}
		}
	})
}

// forever is longer than any test: what waits for it would hang.
const forever = time.Hour

// forbidden is a body that nobody may read.
type forbidden struct{}

func (*forbidden) Read([]byte) (int, error) { return 0, errors.New("the body was asked for") }

// TestR8_RefusalInsteadOfContinue: the sidecars' own refusals too come before the body.
func TestR8_RefusalInsteadOfContinue(t *testing.T) {
	walks(t, table.HTTP, handler(echo), func(t *testing.T, w *walk) {
		if w.to == nil {
			w.mesh.Change(func(_ *table.Mesh, services map[string]*table.Service) {
				services["default/web"].Rules[0].Backends[0].Set = nil
			})
		} else {
			w.to.configure(func(t *table.Table) { t.Access = w.mesh.Allow("somebody-else") })
		}
		c := dial(t, w.addr)
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if (resp.StatusCode != 403 && resp.StatusCode != 503) || !resp.Close {
			t.Errorf("got %d, close %v", resp.StatusCode, resp.Close)
		}
	})
}

// TestR8_UnansweredExpectation: a client that waits no longer for a server that knows no 100 just sends.
func TestR8_UnansweredExpectation(t *testing.T) {
	app := raw(func(c net.Conn) {
		r := bufio.NewReader(c)
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, _ := io.ReadAll(req.Body)
		fmt.Fprintf(c, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	})
	walks(t, table.HTTP, app, func(t *testing.T, w *walk) {
		got := exchange(t, w.addr, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody")
		if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(got, "\r\n\r\nbody") {
			t.Errorf("got %q", got)
		}
	})
}
