package h2_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/proxy/internal/balance"
	"github.com/weft-mesh/weft/proxy/internal/h2"
	"github.com/weft-mesh/weft/proxy/internal/health"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// raw is one end of a connection that a test drives frame by frame.
type raw struct {
	t   testing.TB
	nc  net.Conn
	fr  *http2.Framer
	enc *hpack.Encoder
	buf bytes.Buffer
}

func newRaw(t testing.TB, nc net.Conn) *raw {
	r := &raw{t: t, nc: nc, fr: http2.NewFramer(nc, nc)}
	r.fr.AllowIllegalWrites = true
	r.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.enc = hpack.NewEncoder(&r.buf)
	return r
}

// dialRaw is a client that has sent its preface.
func dialRaw(t testing.TB, addr string) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	r := newRaw(t, nc)
	if _, err := io.WriteString(nc, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	r.must(r.fr.WriteSettings())
	return r
}

func (r *raw) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) encode(pairs ...string) []byte {
	r.buf.Reset()
	for i := 0; i < len(pairs); i += 2 {
		r.must(r.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}))
	}
	return r.buf.Bytes()
}

func (r *raw) headers(id uint32, end bool, pairs ...string) {
	r.t.Helper()
	r.must(r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.encode(pairs...), EndStream: end, EndHeaders: true}))
}

// get sends a whole request.
func (r *raw) get(id uint32, path string, more ...string) {
	r.t.Helper()
	r.headers(id, true, append([]string{":method", "GET", ":scheme", "http", ":path", path, ":authority", "echo"}, more...)...)
}

// next returns the next frame that says something about a stream or the connection's end; nil at the end.
func (r *raw) next() http2.Frame {
	for {
		f, err := r.fr.ReadFrame()
		if err != nil {
			return nil
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = r.fr.WriteSettingsAck() // the next read tells
			}
		case *http2.WindowUpdateFrame:
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = r.fr.WritePing(true, f.Data) // the next read tells
			}
		default:
			return f
		}
	}
}

// response is what a stream got.
type response struct {
	status  string
	fields  map[string]string
	body    string
	reset   http2.ErrCode
	isReset bool
	goAway  http2.ErrCode
	gone    bool // GOAWAY with an error, or the connection is over
}

// response reads until stream id is over, whatever other streams do.
func (r *raw) response(id uint32) response {
	r.t.Helper()
	got := response{fields: map[string]string{}}
	for {
		switch f := r.next().(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID != id {
				continue
			}
			for _, h := range f.Fields {
				if h.Name == ":status" {
					got.status = h.Value
				} else {
					got.fields[h.Name] = h.Value
				}
			}
			if f.StreamEnded() {
				return got
			}
		case *http2.DataFrame:
			if f.StreamID != id {
				continue
			}
			got.body += string(f.Data())
			if f.StreamEnded() {
				return got
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				got.reset, got.isReset = f.ErrCode, true
				return got
			}
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				got.goAway, got.gone = f.ErrCode, true
				return got
			}
		case nil:
			got.gone = true
			return got
		}
	}
}

// expectGoAway reads until the connection is given up.
func (r *raw) expectGoAway(want http2.ErrCode) {
	r.t.Helper()
	for {
		switch f := r.next().(type) {
		case *http2.GoAwayFrame:
			if f.ErrCode != want {
				r.t.Fatalf("GOAWAY %v, want %v", f.ErrCode, want)
			}
			return
		case nil:
			r.t.Fatalf("the connection ended without GOAWAY %v", want)
		}
	}
}

// requests hands every complete request of a connection to f.
func (r *raw) requests(f func(id uint32, fields map[string]string, body string)) {
	bodies, heads := map[uint32]string{}, map[uint32]map[string]string{}
	for {
		switch fr := r.next().(type) {
		case *http2.MetaHeadersFrame:
			fields := map[string]string{}
			for _, h := range fr.Fields {
				fields[h.Name] = h.Value
			}
			if heads[fr.StreamID] == nil { // else these are trailers
				heads[fr.StreamID] = fields
			}
			if fr.StreamEnded() {
				f(fr.StreamID, heads[fr.StreamID], bodies[fr.StreamID])
			}
		case *http2.DataFrame:
			bodies[fr.StreamID] += string(fr.Data())
			if n := uint32(len(fr.Data())); n > 0 {
				_ = r.fr.WriteWindowUpdate(0, n)           // the next read tells
				_ = r.fr.WriteWindowUpdate(fr.StreamID, n) // the next read tells
			}
			if fr.StreamEnded() {
				f(fr.StreamID, heads[fr.StreamID], bodies[fr.StreamID])
			}
		case nil:
			return
		}
	}
}

// upstream runs scripted servers: serve gets each connection after its preface. It returns an endpoint.
func upstream(t *testing.T, name string, serve func(n int, r *raw)) *table.Endpoint {
	t.Helper()
	ln := listen(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	wg.Go(func() {
		for n := 0; ; n++ {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[nc] = true
			mu.Unlock()
			wg.Go(func() {
				defer nc.Close()
				preface := make([]byte, len(http2.ClientPreface))
				if _, err := io.ReadFull(nc, preface); err != nil {
					return
				}
				r := newRaw(t, nc)
				if r.fr.WriteSettings() == nil {
					serve(n, r)
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for nc := range conns {
			nc.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return endpoint(name, ln.Addr().String())
}

func endpoint(name, addr string) *table.Endpoint {
	at := netip.MustParseAddrPort(addr)
	return &table.Endpoint{Key: fmt.Sprint(name, " ", addr), Workload: name, Service: service, Address: at.Addr(), MeshPort: at.Port(), TargetPort: at.Port()}
}

// deadEndpoint refuses connections.
func deadEndpoint(t *testing.T) *table.Endpoint {
	t.Helper()
	ln := listen(t)
	ln.Close()
	return endpoint("dead", ln.Addr().String())
}

// newOutbound puts an outbound server before endpoints.
func newOutbound(t *testing.T, endpoints []*table.Endpoint, options ...meshOption) *mesh {
	t.Helper()
	m := &mesh{t: t, out: newRecords(), in: newRecords(), set: &table.EndpointSet{Key: service, Service: service, Endpoints: endpoints}}
	for _, o := range options {
		o(m)
	}
	m.store(m.set)
	budget := limit.NewBudget(20, 100)
	balancer := balance.New(health.NewRegistry())
	m.outbound = m.start(h2.Config{
		Pick: func(set *table.EndpointSet, _ table.Balancing, port uint16, failed []*table.Endpoint) (balance.Choice, bool) {
			return balancer.Pick(set, table.RoundRobin, port, failed) // the first endpoint comes first
		},
		Dial: m.dial, Request: budget.Request, Retry: budget.Retry, Emit: m.out.emit, Limits: m.limits, Guard: m.guard,
	}, func(s *h2.Server, nc net.Conn) error {
		return s.Serve(context.Background(), nc, h2.Downstream{Decide: m.decideOut})
	}, &m.addr)
	return m
}

// echo answers every request with what it saw.
func echo(name string) func(int, *raw) {
	return func(_ int, r *raw) {
		r.requests(func(id uint32, fields map[string]string, body string) {
			r.headers(id, false, ":status", "200", "x-path", fields[":path"], "x-by", name, "x-id", fields["x-request-id"], "x-source", fields["weft-source"]+fields["weft_source"])
			for len(body) > 16<<10 {
				_ = r.fr.WriteData(id, false, []byte(body[:16<<10])) // the next read tells
				body = body[16<<10:]
			}
			_ = r.fr.WriteData(id, true, []byte(body)) // the next read tells
		})
	}
}
