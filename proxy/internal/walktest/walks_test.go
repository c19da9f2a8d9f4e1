package walktest

import (
	"net"
	"net/http"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/table"
)

// walk is one way from a client's program to another program: by the outbound sidecar alone, or by a pair of sidecars and
// mutual TLS.
type walk struct {
	mesh *Mesh
	from *Client
	to   *Workload // nil without a sidecar at the far end
	addr string    // where the client's program calls
}

// walks runs a test over both ways to app.
func walks(t *testing.T, protocol table.Protocol, app func(*testing.T) net.Addr, test func(*testing.T, *walk)) {
	for _, paired := range []bool{false, true} {
		name := map[bool]string{false: "to the app", true: "mTLS pair"}[paired]
		t.Run(name, func(t *testing.T) {
			w := &walk{mesh: New(t)}
			w.mesh.Service("web", protocol)
			if paired {
				w.to = w.mesh.Workload("web", "web-1", app(t), w.mesh.Allow("shop"))
			} else {
				w.mesh.Add(Plain("web", "web-1", app(t)))
			}
			w.from = w.mesh.Client("shop")
			w.addr = w.from.Upstream("web")
			test(t, w)
		})
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
