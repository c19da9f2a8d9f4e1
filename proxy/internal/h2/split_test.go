package h2_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/proxy/internal/h2"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// dribbling writes byte by byte.
type dribbling struct{ net.Conn }

func (d dribbling) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := d.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// script is what a client says on one connection, with a request of each kind, and how many streams it opens.
func script(t *testing.T) (stream []byte, streams int) {
	var out bytes.Buffer
	out.WriteString(http2.ClientPreface)
	r := newRaw(t, nil)
	r.fr = http2.NewFramer(&out, nil)
	r.fr.AllowIllegalWrites = true
	r.must(r.fr.WriteSettings())
	r.get(1, "/one?a=b", "x-request-id", "1")
	block := append([]byte(nil), r.encode(":method", "POST", ":scheme", "http", ":path", "/three", ":authority", "echo", "x-request-id", "3", "a", "b")...)
	r.must(r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block[:5], PadLength: 3}))
	r.must(r.fr.WriteContinuation(3, false, nil))
	r.must(r.fr.WriteContinuation(3, true, block[5:]))
	r.must(r.fr.WriteDataPadded(3, false, []byte("body"), make([]byte, 7)))
	r.must(r.fr.WritePing(false, [8]byte{1}))
	r.must(r.fr.WriteData(3, false, []byte(" and more")))
	r.headers(3, true, "sum", "13")
	r.get(5, "/five", "connection", "close") // malformed
	r.headers(7, false, ":method", "POST", ":scheme", "http", ":path", "/seven", ":authority", "echo", "content-length", "3")
	r.must(r.fr.WriteData(7, true, []byte("longer"))) // the same
	r.get(9, "/a b", "x-request-id", "9")             // answered with 400
	r.get(11, "/one?a=b", "x-request-id", "11")       // mostly from the compression table
	return out.Bytes(), 6
}

// answers reads a connection until so many streams are over, and says how each has ended.
func answers(r *raw, streams int) string {
	got := make([]string, 2*streams)
	for over := 0; over < streams; {
		switch f := r.next().(type) {
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				got[f.StreamID] += fmt.Sprint(h.Name, ": ", h.Value, "; ")
			}
			if f.StreamEnded() {
				over++
			}
		case *http2.DataFrame:
			got[f.StreamID] += string(f.Data())
			if f.StreamEnded() {
				over++
			}
		case *http2.RSTStreamFrame:
			got[f.StreamID] += f.ErrCode.String()
			over++
		case nil:
			return strings.Join(got, "\n") + "the connection ended"
		}
	}
	return strings.Join(got, "\n")
}

// TestFramesMeanTheSameHoweverTheyArrive: whole, byte by byte, and split at every byte; from the client, and byte by byte from the
// endpoint too. The pipe hands over each write as one read.
func TestFramesMeanTheSameHoweverTheyArrive(t *testing.T) {
	for name, app := range map[string]func(int, *raw){
		"endpoint whole":        echo("a"),
		"endpoint byte by byte": func(n int, r *raw) { echo("a")(n, newRaw(r.t, dribbling{r.nc})) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newOutbound(t, []*table.Endpoint{upstream(t, "a", app)}, withGuard(limit.Limits{Resets: 100}))
			stream, streams := script(t)
			say := func(write func(nc net.Conn)) string {
				nc, far := net.Pipe()
				over := make(chan error, 1)
				go func() {
					over <- m.outbound.Serve(context.Background(), far, h2.Downstream{Decide: m.decideOut})
				}()
				go write(nc)
				r := newRaw(t, nc)
				r.fr = http2.NewFramer(io.Discard, nc) // an acknowledgement would come between the pieces
				r.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
				got := answers(r, streams)
				nc.Close()
				<-over // the client has left
				return got
			}
			want := say(func(nc net.Conn) { _, _ = nc.Write(stream) }) // the answers tell
			if !strings.Contains(want, "body and more") || strings.Count(want, "PROTOCOL_ERROR") != 2 || strings.Count(want, "x-path: /one?a=b") != 2 || !strings.Contains(want, "400") {
				t.Fatalf("whole:\n%s", want)
			}
			if got := say(func(nc net.Conn) { _, _ = dribbling{nc}.Write(stream) }); got != want {
				t.Errorf("whole:\n%s\nbyte by byte:\n%s", want, got)
			}
			if name == "endpoint byte by byte" {
				return
			}
			for at := 1; at < len(stream); at++ {
				got := say(func(nc net.Conn) {
					if _, err := nc.Write(stream[:at]); err == nil {
						_, _ = nc.Write(stream[at:])
					}
				})
				if got != want {
					t.Fatalf("whole:\n%s\nsplit after %d:\n%s", want, at, got)
				}
			}
		})
	}
}
