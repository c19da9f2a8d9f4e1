package walktest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// pay is a strict policy with one external service by host, and one by address.
func pay() *table.Egress {
	return &table.Egress{Strict: true, Services: []table.ExternalService{
		{Name: "default/mail", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.25/32")}, Ports: []uint16{25}},
		{Name: "default/pay", Hosts: []string{"*.pay.example"}, Ports: []uint16{80, 443}},
	}}
}

// tlsServer is a program that speaks TLS.
func tlsServer(t *testing.T, handler http.HandlerFunc) net.Addr {
	t.Helper()
	s := httptest.NewTLSServer(handler)
	t.Cleanup(s.Close)
	return s.Listener.Addr()
}

// viaTLS asks for a host over TLS, on a connection that was captured.
func viaTLS(t *testing.T, addr, host string) (string, error) {
	t.Helper()
	tr := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // whoever answers says who he is, in the body
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	resp, err := (&http.Client{Transport: tr}).Get("https://" + host + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func saying(what string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, what) }
}

func TestEgressByAddress(t *testing.T) {
	m := New(t)
	m.Egress(pay())
	c := m.Client("shop")
	c.Outside.Put("192.0.2.25:25", program(t, greet))
	addr, meant := c.Captured()
	meant("192.0.2.25:25")
	conn := dial(t, addr)
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "220 ready\r\n" {
		t.Errorf("got %q, %v", line, err)
	}
	conn.Close()
	if rec := c.Records.Wait(1)[0]; rec.Service != "default/mail" || rec.MTLS || rec.Outside != netip.MustParseAddrPort("192.0.2.25:25") {
		t.Errorf("record %+v", rec)
	}
}

func TestEgressByHost(t *testing.T) {
	m := New(t)
	m.Egress(pay())
	c := m.Client("shop")
	c.Outside.Name("api.pay.example", "192.0.2.1", "192.0.2.2")
	c.Outside.Put("192.0.2.2:443", tlsServer(t, saying("pay over TLS")))
	c.Outside.Put("192.0.2.2:80", server(t, saying("pay")))
	addr, meant := c.Captured()
	meant("192.0.2.2:443")
	if body, err := viaTLS(t, addr, "api.pay.example"); body != "pay over TLS" {
		t.Errorf("over TLS: got %q, %v", body, err)
	}
	if got := c.Outside.Dialled(); len(got) != 1 || got[0] != netip.MustParseAddrPort("192.0.2.2:443") {
		t.Errorf("the address that the client used is the host's, and yet %v were dialled", got)
	}
	// A resolver of the program's own may know another address: the host is what counts. The first of its addresses is dead.
	meant("203.0.113.9:80")
	if _, body := get(t, via(t, addr), "http://API.pay.example/"); body != "pay" {
		t.Errorf("over HTTP: got %q", body)
	}
	for _, to := range c.Outside.Dialled() {
		if to.Addr() == netip.MustParseAddr("203.0.113.9") {
			t.Errorf("the address that the client claimed was dialled")
		}
	}
}

// TestEgressNameThatIsNotTrue: a program that may call one host says its name to another address.
func TestEgressNameThatIsNotTrue(t *testing.T) {
	m := New(t)
	m.Egress(pay())
	c := m.Client("shop")
	c.Outside.Name("api.pay.example", "192.0.2.1")
	c.Outside.Put("192.0.2.1:443", tlsServer(t, saying("pay")))
	c.Outside.Put("198.51.100.66:443", tlsServer(t, saying("evil")))
	addr, meant := c.Captured()
	meant("198.51.100.66:443")
	if body, err := viaTLS(t, addr, "api.pay.example"); body != "pay" {
		t.Errorf("got %q, %v", body, err)
	}
	if got := c.Outside.Dialled(); len(got) != 1 || got[0].Addr() != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("dialled %v", got)
	}
}

func TestEgressRefusesReadably(t *testing.T) {
	m := New(t)
	m.Egress(pay())
	c := m.Client("shop")
	c.Outside.Name("here.pay.example", "127.0.0.1", "224.0.0.1")
	c.Outside.Put("198.51.100.66:80", server(t, saying("evil")))
	addr, meant := c.Captured()
	for _, tt := range []struct{ name, to, url, reason string }{
		{"another host", "198.51.100.66:80", "http://evil.example/", "egress"},
		{"no host", "198.51.100.66:80", "http://198.51.100.66/", "egress"},
		{"another port", "198.51.100.66:8080", "http://api.pay.example:8080/", "egress"},
		{"host that leads to loopback", "198.51.100.66:80", "http://here.pay.example/", "egress"},
		{"host that nobody knows", "198.51.100.66:80", "http://gone.pay.example/", "connect"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			meant(tt.to)
			cl := via(t, addr)
			for range 2 { // also the second request of a connection
				resp, _ := get(t, cl, tt.url)
				if !strings.HasPrefix(resp.Header.Get("weft-error"), "hop=outbound, reason="+tt.reason+",") {
					t.Errorf("got %d %q", resp.StatusCode, resp.Header.Get("weft-error"))
				}
			}
		})
	}
	if got := c.Outside.Dialled(); len(got) > 0 {
		t.Errorf("dialled %v", got)
	}
	refused := 0
	for _, rec := range c.Records.Wait(10) {
		if rec.Reason == flow.Egress && rec.Err != nil && rec.Status == 403 {
			refused++
		}
	}
	if refused != 8 {
		t.Errorf("%d records of refusals", refused)
	}
}

func TestEgressResetsWhatIsNotHTTP(t *testing.T) {
	m := New(t)
	m.Egress(pay())
	c := m.Client("shop")
	addr, meant := c.Captured()
	meant("198.51.100.66:443")
	if _, err := viaTLS(t, addr, "evil.example"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("TLS for another host: got %v", err)
	}
	meant("198.51.100.66:25")
	conn := dial(t, addr)
	io.WriteString(conn, "EHLO a\r\n")
	if _, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("mail: got %v", err)
	}
	for _, rec := range c.Records.Wait(2) {
		if rec.Reason != flow.Egress || rec.Protocol != flow.TCP {
			t.Errorf("record %+v", rec)
		}
	}
}

func TestEgressOpenNamesWhatItCan(t *testing.T) {
	m := New(t)
	policy := pay()
	policy.Strict = false
	policy.Services[1].Ports = nil
	m.Egress(policy)
	c := m.Client("shop")
	c.Outside.Put("192.0.2.2:443", tlsServer(t, saying("pay")))
	c.Outside.Put("192.0.2.3:80", server(t, saying("else")))
	c.Outside.Put("192.0.2.4:25", program(t, greet))
	addr, meant := c.Captured()
	meant("192.0.2.2:443")
	if body, err := viaTLS(t, addr, "api.pay.example"); body != "pay" {
		t.Errorf("got %q, %v", body, err)
	}
	meant("192.0.2.3:80")
	cl := via(t, addr)
	if _, body := get(t, cl, "http://else.example/"); body != "else" {
		t.Errorf("got %q", body)
	}
	cl.CloseIdleConnections()
	meant("192.0.2.4:25")
	conn := dial(t, addr)
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "220 ready\r\n" {
		t.Errorf("a server that speaks first, on a port where names count: got %q, %v", line, err)
	}
	conn.Close()
	services := map[string]int{}
	for _, rec := range c.Records.Wait(3) {
		services[rec.Service]++
	}
	if services["default/pay"] != 1 || services["external"] != 2 {
		t.Errorf("recorded as %v", services)
	}
	names := map[string]bool{}
	for _, to := range c.Outside.Dialled() {
		names[to.String()] = true
	}
	if len(names) != 3 || !names["192.0.2.2:443"] {
		t.Errorf("open: every destination is the client's, but %v were dialled", names)
	}
}

// TestEgressFollowsTheMode: without a policy of its own, the outside is as strict as the inside.
func TestEgressFollowsTheMode(t *testing.T) {
	m := New(t)
	c := m.Client("shop")
	c.Outside.Put("192.0.2.2:80", server(t, saying("outside")))
	addr, meant := c.Captured()
	meant("192.0.2.2:80")
	if _, body := get(t, via(t, addr), "http://x/"); body != "outside" {
		t.Errorf("permissive: got %q", body)
	}
	m.Change(func(mesh *table.Mesh, _ map[string]*table.Service) { mesh.MTLS = table.Strict })
	if resp, _ := get(t, via(t, addr), "http://x/"); resp.StatusCode != 403 {
		t.Errorf("strict: got %d", resp.StatusCode)
	}
}

func TestEgressChangeEndsWhatIsUnderWay(t *testing.T) {
	m := New(t)
	policy := pay()
	policy.Strict = false
	m.Egress(policy)
	c := m.Client("shop")
	c.Outside.Put("192.0.2.25:25", program(t, greet))
	c.Outside.Put("192.0.2.26:26", program(t, greet))
	addr, meant := c.Captured()
	open := func(to string) (*net.TCPConn, *bufio.Reader) {
		meant(to)
		conn := dial(t, addr)
		r := bufio.NewReader(conn)
		if line, err := r.ReadString('\n'); line != "220 ready\r\n" {
			t.Fatalf("%s: got %q, %v", to, line, err)
		}
		return conn, r
	}
	named, fromNamed := open("192.0.2.25:25")
	_, fromOther := open("192.0.2.26:26")
	m.Egress(pay())
	if rest, _ := io.ReadAll(fromOther); len(rest) > 0 {
		t.Errorf("after the change: got %q", rest)
	}
	if rec := c.Records.Wait(1)[0]; rec.Reason != flow.Egress || rec.Outside.Port() != 26 {
		t.Errorf("record %+v", rec)
	}
	io.WriteString(named, "still\n")
	if line, err := fromNamed.ReadString('\n'); line != "250 still\n" {
		t.Errorf("what is still allowed: got %q, %v", line, err)
	}
}
