package walktest

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// via is an HTTP client whose connections all go to one address, as those of a captured program do.
func via(t *testing.T, addr string) *http.Client {
	t.Helper()
	tr := &http.Transport{MaxConnsPerHost: 1, DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func grpcVia(t *testing.T, addr string) testgrpc.TestServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return testgrpc.NewTestServiceClient(conn)
}

func TestC5_CallToAVirtualAddressIsACallToTheService(t *testing.T) {
	m := New(t)
	m.Service("web", table.Detect)
	m.Service("db", table.Detect)
	m.Workload("web", "web-1", server(t, echo), m.Allow("shop"))
	m.Workload("db", "db-1", program(t, greet), m.Allow("shop"))
	c := m.Client("shop")
	addr, meant := c.Captured()

	meant(Virtual("web").String() + ":80")
	resp, body := get(t, via(t, addr), "http://web/hello")
	if resp.StatusCode != 200 || body != "GET /hello " {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
	meant(Virtual("db").String() + ":80")
	db := dial(t, addr)
	r := bufio.NewReader(db)
	if line, err := r.ReadString('\n'); line != "220 ready\r\n" {
		t.Errorf("a server that speaks first: got %q, %v", line, err)
	}
	io.WriteString(db, "hello\n")
	if line, _ := r.ReadString('\n'); line != "250 hello\n" {
		t.Errorf("got %q", line)
	}
	db.Close()
	for _, rec := range c.Records.Wait(2) {
		if !rec.MTLS || rec.Reason != flow.None || rec.Service != "default/web" && rec.Service != "default/db" {
			t.Errorf("record %+v", rec)
		}
	}
}

func TestC5_PortThatAServiceDoesNotHave(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	m.Workload("web", "web-1", server(t, echo), m.Allow("shop"))
	c := m.Client("shop")
	addr, meant := c.Captured()
	meant(Virtual("web").String() + ":81")
	resp, _ := get(t, via(t, addr), "http://web:81/")
	if resp.StatusCode != 404 || !strings.HasPrefix(resp.Header.Get("weft-error"), "hop=outbound, reason=no_route,") {
		t.Errorf("got %d %q", resp.StatusCode, resp.Header.Get("weft-error"))
	}
	if rec := c.Records.Wait(1)[0]; rec.Service != "default/web" || rec.Reason != flow.NoRoute {
		t.Errorf("record %+v", rec)
	}
	if got := c.Outside.Dialled(); len(got) > 0 {
		t.Errorf("dialled %v outside of the mesh", got)
	}
}

func TestC5_CallStraightToAWorkload(t *testing.T) {
	for _, protocol := range []table.Protocol{table.HTTP, table.Detect} {
		m := New(t)
		m.Service("web", protocol)
		one := m.Workload("web", "web-1", server(t, echo), m.Allow("shop"))
		two := m.Workload("web", "web-2", server(t, echo), m.Allow("shop"))
		m.Address("10.0.0.2", protocol, two.Endpoint)
		c, other := m.Client("shop"), m.Client("other")
		to := "10.0.0.2:" + portOf(two.Endpoint)

		addr, meant := c.Captured()
		meant(to)
		cl := via(t, addr)
		for range 5 {
			resp, body := get(t, cl, "http://10.0.0.2/")
			if resp.StatusCode != 200 || body != "GET / " || resp.Header.Get("x-seen-source") != "spiffe://weft.local/ns/default/sa/shop" {
				t.Errorf("got %d %q from %q", resp.StatusCode, body, resp.Header.Get("x-seen-source"))
			}
		}
		for _, rec := range c.Records.Wait(5) {
			if rec.Endpoint != two.Endpoint || !rec.MTLS || rec.Service != "default/web" {
				t.Errorf("record %+v", rec)
			}
		}
		two.Records.Wait(5)
		if n := len(one.Records.Wait(0)); n > 0 {
			t.Errorf("the other workload of the service got %d requests", n)
		}
		addr, meant = other.Captured()
		meant(to)
		if resp, _ := get(t, via(t, addr), "http://10.0.0.2/"); resp.StatusCode != 403 {
			t.Errorf("a caller without permission got %d", resp.StatusCode)
		}
	}
}

func TestC5_CallStraightToAWorkloadOfGRPCAndTCP(t *testing.T) {
	m := New(t)
	m.Service("rpc", table.GRPC)
	m.Service("db", table.TCP)
	rpc := m.Workload("rpc", "rpc-1", grpcServer(t, "rpc-1"), m.Allow("shop"))
	db := m.Workload("db", "db-1", program(t, greet), m.Allow("shop"))
	m.Address("10.0.0.3", table.GRPC, rpc.Endpoint)
	m.Address("10.0.0.4", table.TCP, db.Endpoint)
	c := m.Client("shop")

	addr, meant := c.Captured()
	meant("10.0.0.3:" + portOf(rpc.Endpoint))
	resp, err := grpcVia(t, addr).UnaryCall(t.Context(), &testgrpc.SimpleRequest{})
	if err != nil || resp.GetUsername() != "spiffe://weft.local/ns/default/sa/shop" {
		t.Errorf("got %v, %v", resp, err)
	}
	addr, meant = c.Captured()
	meant("10.0.0.4:" + portOf(db.Endpoint))
	if line, err := bufio.NewReader(dial(t, addr)).ReadString('\n'); line != "220 ready\r\n" {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestC5_WorkloadThatHasLeftItsAddress(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	w := m.Workload("web", "web-1", server(t, echo), m.Allow("shop"))
	m.Address("10.0.0.2", table.HTTP, w.Endpoint)
	c := m.Client("shop")
	addr, meant := c.Captured()
	meant("10.0.0.2:" + portOf(w.Endpoint))
	cl := via(t, addr)
	if resp, _ := get(t, cl, "http://10.0.0.2/"); resp.StatusCode != 200 {
		t.Fatalf("got %d", resp.StatusCode)
	}
	m.Address("10.0.0.2", table.HTTP, nil)
	resp, _ := get(t, cl, "http://10.0.0.2/") // on the connection that was made before
	if resp.StatusCode != 503 || !strings.Contains(resp.Header.Get("weft-error"), "reason=no_endpoint,") {
		t.Errorf("got %d %q", resp.StatusCode, resp.Header.Get("weft-error"))
	}
	c.Outside.Put("10.0.0.2:"+portOf(w.Endpoint), server(t, echo))
	if resp, _ := get(t, via(t, addr), "http://10.0.0.2/"); resp.StatusCode != 200 {
		t.Errorf("a new connection, to what is outside now, got %d", resp.StatusCode)
	}
}

func TestOutsidePassesThrough(t *testing.T) {
	m := New(t)
	c := m.Client("shop")
	c.Outside.Put("192.0.2.1:25", program(t, greet))
	c.Outside.Put("192.0.2.2:80", server(t, echo))
	addr, meant := c.Captured()

	meant("192.0.2.1:25")
	mail := dial(t, addr)
	r := bufio.NewReader(mail)
	if line, err := r.ReadString('\n'); line != "220 ready\r\n" {
		t.Fatalf("a server that speaks first: got %q, %v", line, err)
	}
	io.WriteString(mail, "hello\n")
	if line, _ := r.ReadString('\n'); line != "250 hello\n" {
		t.Errorf("got %q", line)
	}
	mail.Close()
	meant("192.0.2.2:80")
	resp, body := get(t, via(t, addr), "http://192.0.2.2/a//b")
	if body != "GET /a//b " || resp.Header.Get("x-seen-id") != "" {
		t.Errorf("the request was changed: %q, id %q", body, resp.Header.Get("x-seen-id"))
	}
	if rec := c.Records.Wait(1)[0]; rec.Service != "external" || rec.MTLS || rec.Protocol != flow.TCP || rec.BytesReceived == 0 {
		t.Errorf("record %+v", rec)
	}
}

func TestOutsideThatIsOurselves(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	c := m.Client("shop")
	up := c.Upstream("web")
	addr, meant := c.Captured()
	for to, reason := range map[string]string{addr: "loop", up: "loop", "127.0.0.1:9": "egress", "0.0.0.0:80": "egress", "224.0.0.1:80": "egress"} {
		meant(to)
		resp, _ := get(t, via(t, addr), "http://x/")
		if !strings.HasPrefix(resp.Header.Get("weft-error"), "hop=outbound, reason="+reason+",") {
			t.Errorf("%s: got %d %q", to, resp.StatusCode, resp.Header.Get("weft-error"))
		}
	}
	if got := c.Outside.Dialled(); len(got) > 0 {
		t.Errorf("dialled %v", got)
	}
}

func TestCapturedWithoutADestination(t *testing.T) {
	m := New(t)
	c := m.Client("shop")
	addr, _ := c.Captured()
	resp, _ := get(t, via(t, addr), "http://x/")
	if resp.StatusCode != 400 {
		t.Errorf("got %d", resp.StatusCode)
	}
	if rec := c.Records.Wait(1)[0]; rec.Reason != flow.BadRequest || !strings.Contains(rec.Err.Error(), "not redirected") {
		t.Errorf("record %+v", rec)
	}
}

func TestEgressRefusesGRPCReadably(t *testing.T) {
	m := New(t)
	m.Egress(&table.Egress{Strict: true})
	c := m.Client("shop")
	addr, meant := c.Captured()
	meant("192.0.2.1:443")
	_, err := grpcVia(t, addr).UnaryCall(t.Context(), &testgrpc.SimpleRequest{})
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "egress") {
		t.Errorf("got %v", err)
	}
	if rec := c.Records.Wait(1)[0]; rec.Reason != flow.Egress || rec.Service != "external" {
		t.Errorf("record %+v", rec)
	}
}

func portOf(ep *table.Endpoint) string { return strconv.Itoa(int(ep.TargetPort)) }
