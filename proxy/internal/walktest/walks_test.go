package walktest

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/table"
)

// walk is one way from a client's program to another program.
type walk struct {
	mesh     *Mesh
	to       *Workload // the sidecar at the far end; nil without one
	addr     string    // where the client's program calls
	mtls     bool
	records  *Records                    // of the first sidecar on the way
	drain    func(context.Context) error // of that one
	dialled  func() uint64               // how many connections that one has made by HTTP/1.1; nil: it does not say
	buffered func() int64                // what that one holds in buffers
	hop      string                      // its name in weft-error
	host     string                      // what it calls a program whose client names no host
}

// walks runs a test over every way to app: by the outbound sidecar alone, by the plaintext port of the inbound sidecar alone, and
// by both with mutual TLS between them.
func walks(t *testing.T, protocol table.Protocol, app func(*testing.T) net.Addr, test func(*testing.T, *walk)) {
	t.Run("outbound to the app", func(t *testing.T) {
		m := New(t)
		m.Service("web", protocol)
		m.Add(Plain("web", "web-1", app(t)))
		test(t, m.walkFrom("shop", nil))
	})
	t.Run("plaintext to inbound", func(t *testing.T) {
		m := New(t)
		m.Service("web", protocol)
		to := m.Workload("web", "web-1", app(t), &table.Access{Open: true})
		test(t, &walk{mesh: m, to: to, addr: to.Plain, records: to.Records, drain: to.Inbound.Drain, buffered: to.Inbound.Buffered, hop: "inbound", host: "localhost"})
	})
	t.Run("mTLS pair", func(t *testing.T) {
		m := New(t)
		m.Service("web", protocol)
		test(t, m.walkFrom("shop", m.Workload("web", "web-1", app(t), m.Allow("shop"))))
	})
}

// walkFrom is a way that begins at an account's outbound sidecar.
func (m *Mesh) walkFrom(account string, to *Workload) *walk {
	c := m.Client(account)
	return &walk{
		mesh: m, to: to, addr: c.Upstream("web"), mtls: to != nil, records: c.Records, drain: c.Outbound.Drain,
		buffered: c.Outbound.Buffered, dialled: c.Outbound.Connections().Dialled.Load, hop: "outbound", host: "web.default",
	}
}

// handler makes an app of a handler.
func handler(h http.HandlerFunc) func(*testing.T) net.Addr {
	return func(t *testing.T) net.Addr { return server(t, h) }
}

// raw makes an app that speaks by hand.
func raw(serve func(net.Conn)) func(*testing.T) net.Addr {
	return func(t *testing.T) net.Addr { return program(t, serve) }
}

// handler2 is handler for HTTP/2 without TLS.
func handler2(h http.HandlerFunc) func(*testing.T) net.Addr {
	return func(t *testing.T) net.Addr {
		ln := Listen(t)
		s := &http.Server{Handler: h, Protocols: &http.Protocols{}}
		s.Protocols.SetUnencryptedHTTP2(true)
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Serve(ln) // ends when it is closed
		}()
		t.Cleanup(func() { s.Close(); <-done })
		return ln.Addr()
	}
}

// client2 is client for HTTP/2 without TLS.
func client2(t *testing.T) *http.Client {
	tr := &http.Transport{Protocols: &http.Protocols{}, DisableCompression: true}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// versions runs a test over both ways, by HTTP/1.1 and by HTTP/2.
func versions(t *testing.T, h http.HandlerFunc, test func(*testing.T, *walk, *http.Client)) {
	t.Run("HTTP1", func(t *testing.T) {
		walks(t, table.HTTP, handler(h), func(t *testing.T, w *walk) { test(t, w, client(t)) })
	})
	t.Run("HTTP2", func(t *testing.T) {
		walks(t, table.HTTP2, handler2(h), func(t *testing.T, w *walk) { test(t, w, client2(t)) })
	})
}
