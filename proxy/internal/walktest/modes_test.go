package walktest

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// spoken is one protocol of the matrix: a program of it, and a call that says whether it was served, or how it was refused.
type spoken struct {
	name     string
	protocol table.Protocol
	program  func(*testing.T) net.Addr
	// call returns nothing when the program answered, else the hop and reason of the refusal as the caller sees them. A caller
	// of TCP sees the end of its connection.
	call func(t *testing.T, addr string) string
}

// stream says that connections are not of HTTP.
func (p spoken) stream() bool { return strings.HasPrefix(p.name, "TCP") }

func protocols() []spoken {
	return []spoken{
		{"HTTP", table.HTTP, func(t *testing.T) net.Addr { return server(t, echo) }, callHTTP},
		{"HTTP undeclared", table.Detect, func(t *testing.T) net.Addr { return server(t, echo) }, callHTTP},
		{"gRPC", table.GRPC, func(t *testing.T) net.Addr { return grpcServer(t, "one") }, callGRPC},
		{"gRPC undeclared", table.Detect, func(t *testing.T) net.Addr { return grpcServer(t, "one") }, callGRPC},
		{"TCP undeclared", table.Detect, func(t *testing.T) net.Addr { return program(t, greet) }, callTCP},
		{"TCP", table.TCP, func(t *testing.T) net.Addr { return program(t, greet) }, callTCP},
	}
}

func callHTTP(t *testing.T, addr string) string {
	resp, body := get(t, client(t), "http://"+addr+"/hello")
	if resp.StatusCode == 200 && body == "GET /hello " {
		return ""
	}
	hop, reason, ok := flow.ParseErrorHeader(resp.Header.Get("weft-error"))
	if !ok || resp.StatusCode != reason.Info().HTTP {
		t.Errorf("status %d with weft-error %q", resp.StatusCode, resp.Header.Get("weft-error"))
	}
	return fmt.Sprint(hop, " ", reason)
}

func callGRPC(t *testing.T, addr string) string {
	_, err := grpcVia(t, addr).UnaryCall(t.Context(), &testgrpc.SimpleRequest{})
	if err == nil {
		return ""
	}
	for _, hop := range []flow.Direction{flow.Outbound, flow.Inbound} {
		if status.Code(err) == codes.PermissionDenied && strings.Contains(err.Error(), hop.String()) && strings.Contains(err.Error(), "plaintext") {
			return fmt.Sprint(hop, " plaintext")
		}
	}
	return err.Error()
}

func callTCP(t *testing.T, addr string) string {
	conn := dial(t, addr)
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if line == "220 ready\r\n" {
		return ""
	}
	return fmt.Sprint("closed: ", err)
}

// TestE3_E7_ModesMatrix: what passes in each mode between clients and servers with and without a sidecar. Off is plaintext
// everywhere, permissive is mTLS wherever both ends can, strict refuses everything else so that the caller can read why.
func TestE3_E7_ModesMatrix(t *testing.T) {
	for mode, name := range map[table.MTLSMode]string{table.Off: "off", table.Permissive: "permissive", table.Strict: "strict"} {
		for _, p := range protocols() {
			t.Run(name+"/"+p.name, func(t *testing.T) {
				m := New(t)
				m.Change(func(mesh *table.Mesh, _ map[string]*table.Service) { mesh.MTLS = mode })
				m.Service("meshed", p.protocol)
				m.Service("plain", p.protocol)
				w := m.Workload("meshed", "meshed-1", p.program(t), &table.Access{Open: true})
				m.Add(Plain("plain", "plain-1", p.program(t)))
				c := m.Client("shop")

				if got := p.call(t, c.Upstream("meshed")); got != "" {
					t.Errorf("meshed to meshed: refused by %s", got)
				}
				refused := ""
				if mode == table.Strict {
					refused = "plaintext"
				}
				checkRefusal(t, "meshed to plaintext", p, p.call(t, c.Upstream("plain")), "outbound", refused)
				checkRefusal(t, "plaintext to meshed", p, p.call(t, w.Plain), "inbound", refused)
				checkRecords(t, mode, p, c, w)
			})
		}
	}
}

func checkRefusal(t *testing.T, what string, p spoken, got, hop, reason string) {
	t.Helper()
	switch {
	case reason == "":
		if got != "" {
			t.Errorf("%s: refused by %s", what, got)
		}
	case p.stream():
		if !strings.HasPrefix(got, "closed: ") {
			t.Errorf("%s: got %q, want the end of the connection", what, got)
		}
	case got != hop+" "+reason:
		t.Errorf("%s: got %q, want %q", what, got, hop+" "+reason)
	}
}

// checkRecords looks at what both sidecars say about it: a record that is not mTLS is plaintext, one that is has a peer.
func checkRecords(t *testing.T, mode table.MTLSMode, p spoken, c *Client, w *Workload) {
	t.Helper()
	for _, rec := range c.Records.Wait(2) {
		meshed := rec.Service == "default/meshed"
		if rec.MTLS != (meshed && mode != table.Off) || (rec.Reason == flow.Plaintext) != (!meshed && mode == table.Strict) {
			t.Errorf("outbound record %+v", rec)
		}
	}
	inbound := 2
	switch {
	case mode == table.Off:
		inbound = 1 // the other call went past the sidecar, straight to the program
	case p.protocol == table.Detect && !p.stream():
		inbound = 3 // one more connection, for a server that might have spoken first
	}
	mtls := 0
	for _, rec := range w.Records.Wait(inbound) {
		if rec.MTLS {
			mtls++
		}
		if rec.MTLS == rec.Peer.IsZero() || (rec.Reason == flow.Plaintext) != (!rec.MTLS && mode == table.Strict) {
			t.Errorf("inbound record %+v", rec)
		}
	}
	if want := inbound - 1; mtls != want {
		t.Errorf("%d of %d inbound records are of mTLS", mtls, inbound)
	}
}
