package h2_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/h2"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// once is a listener of one connection.
type once struct {
	conns chan net.Conn
	close sync.Once
}

func (l *once) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l *once) Close() error   { l.close.Do(func() { close(l.conns) }); return nil }
func (l *once) Addr() net.Addr { return &net.UnixAddr{} }

// TestSlowReadersHoldNoMoreThanAWindow: when a peer gives no window, or does not read at all, what the sidecar takes from the
// other one ends with the windows that it has given. Everything is pipes without buffers.
func TestSlowReadersHoldNoMoreThanAWindow(t *testing.T) {
	// The stream's window of the sidecar, the client's, and the buffers of net/http's server and of frames on their way.
	const most = 256<<10 + 64<<10 + 256<<10
	for _, direction := range []string{"response", "request"} {
		t.Run(direction, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var taken atomic.Int64
				client, clientEnd := net.Pipe()
				app := &once{conns: make(chan net.Conn, 1)}
				stop := make(chan struct{})
				web := &http.Server{Protocols: &http.Protocols{}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					piece := make([]byte, 10_000)
					for direction == "response" {
						n, err := w.Write(piece)
						if taken.Add(int64(n)); err != nil {
							return
						}
					}
					<-stop // and never reads the request
				})}
				web.Protocols.SetUnencryptedHTTP2(true)
				go web.Serve(app) // ends when it is closed
				s := h2.New(h2.Config{
					Emit: func(*flow.Record) {},
					Dial: func(context.Context, *table.Endpoint) (net.Conn, error) {
						near, far := net.Pipe()
						app.conns <- far
						return near, nil
					},
				})
				endpoint := &table.Endpoint{Key: "app"}
				served := make(chan error, 1)
				go func() {
					served <- s.Serve(t.Context(), clientEnd, h2.Downstream{Decide: func(flow.Request, uint32, *flow.Record) h2.Plan {
						return h2.Plan{Endpoint: endpoint}
					}})
				}()
				if direction == "response" {
					go func() { // reads everything and never gives a window
						r := newRaw(t, client)
						for r.next() != nil {
						}
					}()
				}
				if direction == "request" {
					tr := &http.Transport{Protocols: web.Protocols, DialContext: func(context.Context, string, string) (net.Conn, error) { return client, nil }}
					defer tr.CloseIdleConnections()
					body, feed := io.Pipe()
					go func() {
						req, _ := http.NewRequest("POST", "http://app/", body)
						if resp, err := tr.RoundTrip(req); err == nil {
							resp.Body.Close()
						}
					}()
					go func() {
						piece := make([]byte, 10_000)
						for {
							n, err := feed.Write(piece)
							if taken.Add(int64(n)); err != nil {
								return
							}
						}
					}()
				} else {
					go func() {
						io.WriteString(client, http2.ClientPreface)
						r := newRaw(t, client)
						r.must(r.fr.WriteSettings())
						r.get(1, "/")
					}()
				}
				synctest.Wait() // until nothing moves any more
				// net/http's server takes a megabyte of a request that its handler does not read.
				limit := int64(most)
				if direction == "request" {
					limit += 1 << 20
				}
				if n := taken.Load(); n > limit || n == 0 {
					t.Errorf("%d bytes are held", n)
				}
				close(stop)
				client.Close()
				<-served
				web.Close()
				if err := s.Drain(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
