package load

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/integration/bench/app"
	"github.com/weft-mesh/weft/integration/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T) (app.Addresses, *app.Counts) {
	t.Helper()
	ports := harness.NewPorts()
	var at app.Addresses
	for _, a := range []*netip.AddrPort{&at.HTTP, &at.GRPC, &at.TCP} {
		p, err := ports.Port()
		if err != nil {
			t.Fatal(err)
		}
		*a = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(p))
	}
	ctx, cancel := context.WithCancel(t.Context())
	counts := &app.Counts{}
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx, at, counts) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for address, count := range map[netip.AddrPort]*atomic.Int64{at.HTTP: &counts.HTTP, at.GRPC: &counts.GRPC, at.TCP: &counts.TCP} {
		err := harness.Eventually(ctx, func() error {
			c, err := net.Dial("tcp", address.String())
			if err == nil {
				c.Close()
			}
			return err
		})
		if err == nil {
			err = harness.Eventually(ctx, func() error {
				if n := count.Load(); n != 1 {
					return fmt.Errorf("%d connections were counted", n)
				}
				return nil
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return at, counts
}

// Every kind of load gets the right answers of the app itself, and the connections that it should have.
func TestLoads(t *testing.T) {
	at, counts := serve(t)
	for _, c := range []struct {
		spec   Spec
		opened func() int64
		many   bool
	}{
		{Spec{Kind: HTTP, Address: at.HTTP, Path: app.Small, Conns: 3}, counts.HTTP.Load, false},
		{Spec{Kind: HTTP, Address: at.HTTP, Path: app.Large, Conns: 3}, counts.HTTP.Load, false},
		{Spec{Kind: HTTPRate, Address: at.HTTP, Path: app.Small, Conns: 3, Rate: 200}, counts.HTTP.Load, false},
		{Spec{Kind: GRPC, Address: at.GRPC, Conns: 3, Streams: 4}, counts.GRPC.Load, false},
		{Spec{Kind: TCPEcho, Address: at.TCP, Conns: 3}, counts.TCP.Load, false},
		{Spec{Kind: TCPBulk, Address: at.TCP, Conns: 3}, counts.TCP.Load, false},
		{Spec{Kind: HTTPNew, Address: at.HTTP, Path: app.Small, Conns: 3}, counts.HTTP.Load, true},
	} {
		t.Run(c.spec.Kind+c.spec.Path, func(t *testing.T) {
			before := c.opened()
			c.spec.For, c.spec.Pids = 200*time.Millisecond, []int{os.Getpid()}
			r, err := Run(c.spec)
			if err != nil {
				t.Fatal(err)
			}
			if r.Done == 0 || r.CPU[0] == 0 {
				t.Errorf("result is %+v", r)
			}
			if n := c.opened() - before; n < 3 || !c.many && n > 3 {
				t.Errorf("%d connections were opened", n)
			}
		})
	}
}

func TestBrokenConnectionsAreErrors(t *testing.T) {
	at, _ := serve(t)
	// The app does not speak HTTP/1.1 there: it ends the connection.
	if _, err := Run(Spec{Kind: HTTP, Address: at.GRPC, Path: app.Small, Conns: 1, For: time.Second}); err == nil {
		t.Error("a connection that broke is not an error")
	}
}

func TestServeHoldsIdleConnections(t *testing.T) {
	at, counts := serve(t)
	before := counts.HTTP.Load()
	var out strings.Builder
	in := strings.NewReader(`{"kind":"idle","address":"` + at.HTTP.String() + `","path":"/1k","conns":5}` + "\n")
	if err := Serve(t.Context(), in, &out); err != nil {
		t.Fatal(err)
	}
	if n := counts.HTTP.Load() - before; n != 5 || !strings.Contains(out.String(), `"done":5`) {
		t.Errorf("%d connections, answer %s", n, out.String())
	}
}

func TestPercentiles(t *testing.T) {
	m := meter{began: time.Now()}
	for i := range 1000 {
		m.times = append(m.times, int64(1000-i)*1000)
	}
	if r := m.result(1, nil); r.P50 != 501 || r.P90 != 901 || r.P99 != 991 || r.P999 != 1000 {
		t.Errorf("percentiles of 1 to 1000 are %v %v %v %v", r.P50, r.P90, r.P99, r.P999)
	}
}
