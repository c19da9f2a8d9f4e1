package walktest

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/match"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/identity"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// configure replaces parts of a workload's table.
func (w *Workload) configure(edit func(*table.Table)) {
	next := *w.Tables.Load()
	edit(&next)
	w.Tables.Store(&next)
}

func TestT1_DenialIsReadableAtTheCaller(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	access := m.Allow("shop")
	access.Rules[0].Matches = []match.HTTP{{Methods: []string{"GET"}, Path: match.PathPrefix("/public")}}
	w := m.Workload("web", "web-1", server(t, echo), access)
	shop, other := m.Client("shop"), m.Client("other")
	tests := []struct {
		name, url, method string
		want              int
	}{
		{"allowed", shop.Upstream("web") + "/public/x", "GET", 200},
		{"another path", shop.Upstream("web") + "/private", "GET", 403},
		{"way round", shop.Upstream("web") + "/public/../private", "GET", 403},
		{"another method", shop.Upstream("web") + "/public/x", "POST", 403},
		{"another caller", other.Upstream("web") + "/public/x", "GET", 403},
	}
	for i, tt := range tests {
		req, _ := http.NewRequest(tt.method, "http://"+tt.url, nil)
		req.URL.RawPath = ""
		resp, err := client(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s: got %d", tt.name, resp.StatusCode)
		}
		if tt.want == 403 && !strings.HasPrefix(resp.Header.Get("weft-error"), "hop=inbound, reason=denied, id=") {
			t.Errorf("%s: weft-error is %q", tt.name, resp.Header.Get("weft-error"))
		}
		if rec := w.Records.Wait(i + 1)[i]; (rec.Reason == flow.Denied) != (tt.want == 403) {
			t.Errorf("%s: record %+v", tt.name, rec)
		}
	}
}

func TestT1_NeverConfiguredDenies(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	m.Workload("web", "web-1", server(t, echo), nil)
	c := m.Client("shop")
	if resp, _ := get(t, client(t), "http://"+c.Upstream("web")); resp.StatusCode != 403 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestAccessChangeEndsWhatIsUnderWay(t *testing.T) {
	m := New(t)
	m.Service("db", table.TCP)
	m.Service("web", table.HTTP)
	db := m.Workload("db", "db-1", program(t, greet), m.Allow("shop"))
	gone := make(chan struct{})
	web := m.Workload("web", "web-1", server(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "begin")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}), m.Allow("shop"))
	c := m.Client("shop")

	stream := dial(t, c.Upstream("db"))
	r := bufio.NewReader(stream)
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	resp, err := client(t).Get("http://" + c.Upstream("web"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	io.ReadFull(resp.Body, make([]byte, 5))

	// Another rule that still allows must cut nothing.
	for _, w := range []*Workload{db, web} {
		w.configure(func(t *table.Table) { t.Access = m.Allow("shop", "other") })
	}
	io.WriteString(stream, "still\n")
	if line, err := r.ReadString('\n'); err != nil || line != "250 still\n" {
		t.Errorf("after a change that allows: got %q, %v", line, err)
	}

	db2 := dial(t, c.Upstream("db"))
	r2 := bufio.NewReader(db2)
	r2.ReadString('\n')
	for _, w := range []*Workload{db, web} {
		w.configure(func(t *table.Table) { t.Access = m.Allow("other") })
	}
	if rest, _ := io.ReadAll(r2); len(rest) > 0 {
		t.Errorf("after denial: got %q", rest)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the denied response looks complete")
	}
	<-gone
	if rec := web.Records.Wait(1)[0]; rec.Reason != flow.Denied {
		t.Errorf("record %+v", rec)
	}
}

func TestPlaintextIsJudgedByTheMode(t *testing.T) {
	for _, tt := range []struct {
		name   string
		mode   table.MTLSMode
		access *table.Access
		want   int
		reason flow.Reason
	}{
		{"permissive and open", table.Permissive, &table.Access{Open: true}, 200, flow.None},
		{"permissive, but nobody is allowed", table.Permissive, &table.Access{}, 403, flow.Denied},
		{"strict", table.Strict, &table.Access{Open: true}, 403, flow.Plaintext},
		{"off", table.Off, &table.Access{Open: true}, 200, flow.None},
	} {
		for _, protocol := range []table.Protocol{table.HTTP, table.Detect} {
			m := New(t)
			m.Service("web", protocol)
			w := m.Workload("web", "web-1", server(t, echo), tt.access)
			w.configure(func(t *table.Table) { t.Mesh.MTLS = tt.mode })
			resp, _ := get(t, client(t), "http://"+w.Plain+"/")
			if resp.StatusCode != tt.want || tt.want == 403 && !strings.Contains(resp.Header.Get("weft-error"), "reason="+tt.reason.String()) {
				t.Errorf("%s, protocol %v: got %d %q", tt.name, protocol, resp.StatusCode, resp.Header.Get("weft-error"))
			}
		}
	}
}

func TestWeftSourceCannotBeForged(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	w := m.Workload("web", "web-1", server(t, echo), &table.Access{Open: true})
	req, _ := http.NewRequest("GET", "http://"+w.Plain, nil)
	req.Header.Set("weft-source", "spiffe://weft.local/ns/default/sa/admin")
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("x-seen-source"); got != "" {
		t.Errorf("the app sees %q", got)
	}
}

// meshDial speaks TLS to a workload's mesh port by hand.
func meshDial(t *testing.T, w *Workload, source *spiffe.Source, sni, alpn string) (*tls.Conn, error) {
	t.Helper()
	cfg := spiffe.ClientTLS(source, spiffe.OneOf(w.Endpoint.ID))
	cfg.ServerName, cfg.NextProtos = sni, []string{alpn}
	c, err := tls.Dial("tcp", w.Mesh, cfg)
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

func TestID2_MeshPortKnowsWhomItServes(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	w := m.Workload("web", "web-1", server(t, echo), m.Allow("shop"))
	shop := m.CA.Source(t, Account("shop"))
	right := identity.ServerName("default/web", w.Endpoint.TargetPort)
	for name, tt := range map[string]struct {
		source  *spiffe.Source
		sni     string
		alpn    string
		refused bool
		want    string
	}{
		"right":                  {source: shop, sni: right, alpn: identity.ALPNHTTP1, want: "HTTP/1.1 200"},
		"another service":        {source: shop, sni: strings.Replace(right, "web", "db", 1), alpn: identity.ALPNHTTP1, want: "HTTP/1.1 404"},
		"another port":           {source: shop, sni: "1.web.default.weft", alpn: identity.ALPNHTTP1, want: "HTTP/1.1 404"},
		"a name of another kind": {source: shop, sni: "web.default", alpn: identity.ALPNHTTP1, refused: true},
		"another protocol":       {source: shop, sni: right, alpn: "http/1.1", refused: true},
		"a foreign authority":    {source: testca.New(t, "weft.local").Source(t, Account("shop"), testca.WithBundle(m.CA.Bundle())), sni: right, alpn: identity.ALPNHTTP1, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			var answer string
			c, err := meshDial(t, w, tt.source, tt.sni, tt.alpn)
			if err == nil {
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
				var all []byte
				all, err = io.ReadAll(c)
				answer = string(all)
			}
			if tt.refused && answer != "" || !tt.refused && !strings.HasPrefix(answer, tt.want) {
				t.Errorf("got %q, %v", answer, err)
			}
		})
	}
}

func TestID2_ClientVerifiesThePeer(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	w := m.Sidecar("web", "web-1", server(t, echo), m.Allow("shop"))
	w.Endpoint.ID = m.CA.ID(t, Account("bank")) // somebody else answers there
	m.Add(w.Endpoint)
	c := m.Client("shop")
	resp, _ := get(t, client(t), "http://"+c.Upstream("web"))
	if resp.StatusCode != 503 || !strings.Contains(resp.Header.Get("weft-error"), "reason=tls,") {
		t.Errorf("got %d %q", resp.StatusCode, resp.Header.Get("weft-error"))
	}
}

func TestResumptionEndsWithTheSVID(t *testing.T) {
	m := New(t)
	m.Service("db", table.TCP)
	w := m.Workload("db", "db-1", program(t, shout), m.Allow("shop"))
	c := m.Client("shop")
	addr := c.Upstream("db")
	call := func() {
		t.Helper()
		conn := dial(t, addr)
		io.WriteString(conn, "x")
		conn.CloseWrite()
		if got, err := io.ReadAll(conn); err != nil || string(got) != "you said x" {
			t.Fatalf("got %q, %v", got, err)
		}
		conn.Close()
	}
	hs := c.Outbound.Handshakes()
	expect := func(what string, full, resumed uint64) {
		t.Helper()
		if hs.Full.Load() != full || hs.Resumed.Load() != resumed {
			t.Errorf("%s: %d full, %d resumed; want %d, %d", what, hs.Full.Load(), hs.Resumed.Load(), full, resumed)
		}
	}
	call()
	expect("first", 1, 0)
	call()
	expect("second", 1, 1)
	c.Identity.Set(m.CA.SVID(t, Account("shop")))
	call()
	expect("new SVID of the client", 2, 1)
	w.Identity.Set(m.CA.SVID(t, Account("db")))
	call()
	expect("new SVID of the server", 3, 1)
	call()
	expect("again", 3, 2)
}

func TestRevokedAnchorCutsConnections(t *testing.T) {
	m := New(t)
	m.Service("db", table.TCP)
	w := m.Workload("db", "db-1", program(t, greet), m.Allow("shop"))
	c := m.Client("shop")
	conn := dial(t, c.Upstream("db"))
	r := bufio.NewReader(conn)
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	w.Identity.SetBundle(testca.New(t, "weft.local").Bundle()) // the authority of the client is gone
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("got %q", rest)
	}
}
