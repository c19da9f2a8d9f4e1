package forward

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/h1"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// held is the most that one direction of an exchange may hold: what one read has brought and what one write sends.
const held = 2*wire.Large + wire.Medium

// single is a Decider and an Upstream of one endpoint that is reached by one connection.
type single struct {
	up       net.Conn
	endpoint table.Endpoint
	sweeper  *wire.Sweeper // nil: nothing is too slow
}

func (s *single) Admit(context.Context, *h1.Request, *flow.Record) error { return nil }
func (s *single) Target(context.Context, *h1.Request, []*table.Endpoint, *flow.Record) (Target, error) {
	return Target{Endpoint: &s.endpoint}, nil
}
func (s *single) Settle(Outcome) {}
func (s *single) Retry() bool    { return false }
func (s *single) Get(context.Context, *table.Endpoint, bool) (*wire.Conn, error) {
	return wire.New(s.up, s.sweeper), nil
}
func (s *single) Dial(context.Context, *table.Endpoint) (*wire.Conn, error) {
	return wire.New(s.up, s.sweeper), nil
}
func (s *single) Put(c *wire.Conn) { c.Close() }

// busy is a Session that nobody ends.
type busy struct{}

func (busy) Idle()          {}
func (busy) Busy() bool     { return true }
func (busy) Draining() bool { return false }

// flood writes without end and counts what was taken.
type flood struct{ taken atomic.Int64 }

func (f *flood) run(w io.Writer) {
	piece := make([]byte, 1000)
	for {
		n, err := w.Write(piece)
		f.taken.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// TestSlowReadersHoldNothing: when a peer stops reading, the sidecar stops reading from the other one, however long its message
// is. The pipes have no buffers, so that what was taken from the flood is what the engine holds.
func TestSlowReadersHoldNothing(t *testing.T) {
	for _, tt := range []struct {
		name, request, response string
		up, down                bool // which directions are flooded
		next                    bool // what comes up belongs to requests that follow
	}{
		{name: "pipelined requests", request: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", up: true, next: true},
		{name: "sized response", request: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", response: "HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n", down: true},
		{name: "close-delimited response", request: "GET / HTTP/1.1\r\nHost: a\r\n\r\n", response: "HTTP/1.1 200 OK\r\n\r\n", down: true},
		{name: "sized request", request: "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000000\r\n\r\n", up: true},
		{name: "both", request: "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000000\r\n\r\n",
			response: "HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n", up: true, down: true},
		{name: "switched", request: "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
			response: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", up: true, down: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, clientEnd := net.Pipe()
				app, appEnd := net.Pipe()
				link := &single{up: appEnd}
				e := New(Config{Upstream: link, Emit: func(*flow.Record) {}})
				go e.Serve(t.Context(), busy{}, wire.New(clientEnd, nil), link, flow.Record{})
				go io.WriteString(client, tt.request)
				if _, err := http.ReadRequest(bufio.NewReaderSize(app, 16)); err != nil {
					t.Fatal(err)
				}
				var sent, received flood
				if tt.response != "" {
					go func() {
						io.WriteString(app, tt.response)
						if tt.down {
							received.run(app)
						}
					}()
					if _, err := http.ReadResponse(bufio.NewReaderSize(client, 16), nil); err != nil {
						t.Fatal(err)
					}
				}
				if tt.up {
					go sent.run(client)
				}
				synctest.Wait() // until nothing moves any more
				if n := sent.taken.Load(); n > held || tt.up && !tt.next && n == 0 {
					t.Errorf("%d bytes are held of the request", n)
				}
				if n := received.taken.Load(); n > held || tt.down && n == 0 {
					t.Errorf("%d bytes are held of the response", n)
				}
				client.Close()
				app.Close()
			})
		})
	}
}
