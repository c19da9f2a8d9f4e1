package outbound_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/health"
	"github.com/weft-mesh/weft/proxy/internal/outbound"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/walktest"
)

// captured runs a server whose connections are all meant for one address, and asks it for "/".
func captured(t *testing.T, m *walktest.Mesh, cfg outbound.Config, to string) (*http.Response, string) {
	t.Helper()
	cfg.Identity, cfg.Health = m.CA.Source(t, walktest.Account("shop")), health.NewRegistry()
	s := outbound.New(cfg)
	ln := walktest.Listen(t)
	walktest.Run(t, s.Run)
	walktest.Run(t, func(ctx context.Context) error {
		return s.ServeCaptured(ctx, ln, func(net.Conn) (netip.AddrPort, error) { return netip.ParseAddrPort(to) })
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + ln.Addr().String())
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

// answered is the channel of a question that is answered, or that nobody will answer.
func answered() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func saying(t *testing.T, what string) net.Addr {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, what) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr()
}

func TestC5_WorkloadIsAskedForOnFirstUse(t *testing.T) {
	m := walktest.New(t)
	m.Service("web", table.HTTP)
	w := m.Workload("web", "web-1", saying(t, "workload"), m.Allow("shop"))
	to := netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), w.Endpoint.TargetPort)
	tables := &table.Holder{}
	tables.Store(m.Client("shop").Tables.Load())
	m.Address("10.0.0.2", table.HTTP, w.Endpoint)
	full := m.Client("shop").Tables.Load()
	resp, body := captured(t, m, outbound.Config{
		Tables: tables, Emit: (&walktest.Records{}).Emit,
		WantAddress: func(a netip.Addr) <-chan struct{} {
			if a != to.Addr() {
				t.Errorf("asked for %s", a)
			}
			tables.Store(full)
			return answered()
		},
		Outside: func(context.Context, netip.AddrPort) (net.Conn, error) {
			t.Error("dialled outside of the mesh")
			return nil, net.ErrClosed
		},
	}, to.String())
	if resp.StatusCode != 200 || body != "workload" {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

// TestUnknownAddressWithoutAControlPlane: what the mesh has there cannot be known. Where everything outside may be called it is
// called, else not.
func TestUnknownAddressWithoutAControlPlane(t *testing.T) {
	for _, strict := range []bool{false, true} {
		m := walktest.New(t)
		m.Egress(&table.Egress{Strict: strict})
		out := saying(t, "outside")
		resp, body := captured(t, m, outbound.Config{
			Tables: m.Client("shop").Tables, Emit: (&walktest.Records{}).Emit,
			WantAddress: func(netip.Addr) <-chan struct{} { return answered() },
			Outside: func(context.Context, netip.AddrPort) (net.Conn, error) {
				return net.Dial("tcp", out.String())
			},
		}, "192.0.2.1:80")
		if strict {
			if resp.StatusCode != 403 || !strings.Contains(resp.Header.Get("weft-error"), "reason=egress,") {
				t.Errorf("strict: got %d %q", resp.StatusCode, resp.Header.Get("weft-error"))
			}
		} else if body != "outside" {
			t.Errorf("open: got %d %q", resp.StatusCode, body)
		}
	}
}

func TestOwnListenersAreNotCalled(t *testing.T) {
	m := walktest.New(t)
	own := netip.MustParseAddrPort("192.0.2.7:15008")
	resp, _ := captured(t, m, outbound.Config{
		Tables: m.Client("shop").Tables, Emit: (&walktest.Records{}).Emit,
		Own: func(to netip.AddrPort) bool { return to == own },
	}, own.String())
	if resp.StatusCode != 508 || !strings.Contains(resp.Header.Get("weft-error"), "reason=loop,") {
		t.Errorf("got %d %q", resp.StatusCode, resp.Header.Get("weft-error"))
	}
}
