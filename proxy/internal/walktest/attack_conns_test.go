package walktest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// dialFrom connects from another loopback address than the others.
func dialFrom(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestAttackIdleConnections: one address opens many connections and says nothing on those that are served. The ones beyond its
// share are told so, and connections from elsewhere are served.
func TestAttackIdleConnections(t *testing.T) {
	const share, many = 50, 300
	sieges(t, limit.Limits{PeerConns: share}, table.HTTP, handler(echo), func(s *siege) {
		var conns []net.Conn
		for range share {
			c := dialFrom(s.t, "127.0.0.2", s.addr)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || resp.StatusCode != 200 {
				s.t.Fatalf("within its share: %v, %v", resp, err)
			}
			conns = append(conns, c)
		}
		for range many {
			c := dialFrom(s.t, "127.0.0.2", s.addr)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			answered(s.t, all(c), "503", flow.Overload, limit.PeerConns)
		}
		s.counted(limit.PeerConns)
		s.recorded(flow.Overload, limit.PeerConns)
		s.holdsAtMost(8 * mebibyte)
		for _, c := range conns {
			c.Close()
		}
	})
}

// TestAttackConnectionsInAll: beyond the number of connections in all every client is told so, also by HTTP/2, and what is not HTTP
// is ended.
func TestAttackConnectionsInAll(t *testing.T) {
	m := New(t)
	m.Limits = limit.Limits{Conns: 2}
	m.Service("web", table.HTTP)
	m.Service("db", table.TCP)
	m.Add(Plain("web", "web-1", server(t, echo)))
	m.Add(Plain("db", "db-1", program(t, shout)))
	c := m.Client("shop")
	web, db := c.Upstream("web"), c.Upstream("db")
	held := []net.Conn{dial(t, web), dial(t, web)}
	for _, h := range held {
		io.WriteString(h, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := http.ReadResponse(bufio.NewReader(h), nil); err != nil {
			t.Fatal(err)
		}
	}
	answered(t, exchange(t, web, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "503", flow.Overload, limit.Conns)
	cl := client2(t)
	if resp, body := get(t, cl, "http://"+web); resp.StatusCode != 503 || !strings.Contains(body, "over the limit conns of 2") {
		t.Errorf("by HTTP/2: %d %q", resp.StatusCode, body)
	}
	cl.CloseIdleConnections()
	if got := all(dial(t, db)); got != "" {
		t.Errorf("what is not HTTP got %q", got)
	}
	for _, h := range held {
		h.Close()
	}
	s := &siege{t: t, records: c.Records, guard: c.Outbound.Guard()}
	s.recorded(flow.Overload, limit.Conns)
	s.counted(limit.Conns)
}

// TestAttackMeshPort: a host that opens many connections to the mesh port and does not shake hands has its share only, and the
// sidecars on other hosts get through.
func TestAttackMeshPort(t *testing.T) {
	m := New(t)
	m.Limits = limit.Limits{PeerConns: 20}
	m.Service("web", table.HTTP)
	w := m.Workload("web", "web-1", server(t, echo), m.Allow("shop"))
	c := m.Client("shop")
	url := "http://" + c.Upstream("web")
	var conns []net.Conn
	for range 20 {
		conns = append(conns, dialFrom(t, "127.0.0.2", w.Mesh))
	}
	for range 40 {
		if got := all(dialFrom(t, "127.0.0.2", w.Mesh)); got != "" {
			t.Errorf("one too many got %q", got)
		}
	}
	cl := client(t)
	for range bystanding {
		if resp, _ := get(t, cl, url); resp.StatusCode != 200 {
			t.Errorf("a bystander got %d %q", resp.StatusCode, resp.Header.Get("weft-error"))
		}
	}
	s := &siege{t: t, records: w.Records, guard: w.Inbound.Guard()}
	s.recorded(flow.Overload, limit.PeerConns)
	s.counted(limit.PeerConns)
	for _, c := range conns {
		c.Close()
	}
}
