package walktest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// server starts a program.
func server(t *testing.T, handler http.HandlerFunc) net.Addr {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.Listener.Addr()
}

// client is a program's HTTP client: one connection, kept alive.
func client(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{MaxConnsPerHost: 1, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("x-seen-source", r.Header.Get("weft-source"))
	w.Header().Set("x-seen-id", r.Header.Get("x-request-id"))
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.RequestURI(), body)
}

func TestPlaintextRequest(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	m.Add(Plain("web", "web-1", server(t, echo)))
	c := m.Client("shop")
	resp, body := get(t, client(t), "http://"+c.Upstream("web")+"/a//b?x=1")
	if resp.StatusCode != 200 || body != "GET /a/b?x=1 " {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	rec := c.Records.Wait(1)[0]
	if rec.Status != 200 || rec.Reason != flow.None || rec.Tries != 1 || rec.Service != "default/web" || rec.BytesReceived != int64(len(body)) || rec.MTLS {
		t.Errorf("record %+v", rec)
	}
	if len(resp.Header.Get("x-seen-id")) != 32 || resp.Header.Get("x-seen-id") != rec.RequestID {
		t.Errorf("request id %q, record has %q", resp.Header.Get("x-seen-id"), rec.RequestID)
	}
}

func TestE6_MeshRequest(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	w := m.Workload("web", "web-1", server(t, echo), m.Allow("shop"))
	c := m.Client("shop")
	resp, body := get(t, client(t), "http://"+c.Upstream("web")+"/hello")
	if resp.StatusCode != 200 || body != "GET /hello " {
		t.Fatalf("got %d %q", resp.StatusCode, body)
	}
	if got := resp.Header.Get("x-seen-source"); got != "spiffe://weft.local/ns/default/sa/shop" {
		t.Errorf("weft-source is %q", got)
	}
	out, in := c.Records.Wait(1)[0], w.Records.Wait(1)[0]
	if !out.MTLS || out.Handshakes != 1 || !in.MTLS || in.Peer.String() != "spiffe://weft.local/ns/default/sa/shop" || in.Rule != "default/allow[0]" {
		t.Errorf("records %+v and %+v", out, in)
	}
	if out.RequestID != in.RequestID {
		t.Errorf("request ids %q and %q", out.RequestID, in.RequestID)
	}
}

func TestE4_ManyRequestsFewHandshakes(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	w := m.Workload("web", "web-1", server(t, echo), m.Allow("shop"))
	c := m.Client("shop")
	url := "http://" + c.Upstream("web") + "/"
	for range 50 { // each on a connection of its own
		get(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, url)
	}
	w.Records.Wait(50)
	full, resumed := w.Inbound.Handshakes().Full.Load(), w.Inbound.Handshakes().Resumed.Load()
	if full+resumed > 5 {
		t.Errorf("%d full and %d resumed handshakes for 50 requests", full, resumed)
	}
}

func TestLargeBodiesBothWays(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 1<<16) // 1 MB
	m := New(t)
	m.Service("web", table.HTTP)
	m.Workload("web", "web-1", server(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	}), m.Allow("shop"))
	c := m.Client("shop")
	cl, url := client(t), "http://"+c.Upstream("web")+"/"
	for name, body := range map[string]io.Reader{"sized": strings.NewReader(big), "chunked": io.MultiReader(strings.NewReader(big))} {
		t.Run(name, func(t *testing.T) {
			resp, err := cl.Post(url, "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil || string(got) != big {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		})
	}
	for _, rec := range c.Records.Wait(2) {
		if rec.BytesSent != 1<<20 || rec.BytesReceived != 1<<20 || rec.Reason != flow.None {
			t.Errorf("record %+v", rec)
		}
	}
}
