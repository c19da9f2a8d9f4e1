package h2lite

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// Blocks that are written without an encoder read the same with a real decoder, the first time and ever after.
func TestBlocks(t *testing.T) {
	for _, literal := range []bool{false, true} {
		t.Run(fmt.Sprintf("literal=%v", literal), func(t *testing.T) {
			headers, trailers := Answer()
			checkBlocks(t, literal, []*Blocks{headers, trailers}, []string{":status=200 content-type=application/grpc", "grpc-status=0"})
			checkBlocks(t, literal, []*Blocks{Request()},
				[]string{":method=POST :scheme=http :path=/bench.Echo/Unary :authority=grpc content-type=application/grpc te=trailers user-agent=weft-bench/1"})
		})
	}
}

func checkBlocks(t *testing.T, literal bool, blocks []*Blocks, want []string) {
	t.Helper()
	d := hpack.NewDecoder(defaultTable, nil)
	for round := range 3 {
		for i, b := range blocks {
			fields, err := d.DecodeFull(b.Append(nil, literal))
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			var got []string
			for _, f := range fields {
				got = append(got, f.Name+"="+f.Value)
			}
			if s := strings.Join(got, " "); s != want[i] {
				t.Errorf("round %d: block reads %q, want %q", round, s, want[i])
			}
		}
	}
}

func TestNext(t *testing.T) {
	data := Append(Append(nil, Ping, 0, 0, []byte("12345678")), Data, EndStream|Padded, 7, []byte("\x02hello--"))
	for n := range len(data) {
		f, rest, ok := Next(data[:n])
		if ok != (n >= 17) {
			t.Fatalf("Next with %d bytes: %v", n, ok)
		}
		if ok && (f.Type != Ping || len(rest) != n-17) {
			t.Fatalf("Next with %d bytes = %+v, %d left", n, f, len(rest))
		}
	}
	_, rest, _ := Next(data)
	f, rest, ok := Next(rest)
	if !ok || f.Stream != 7 || string(f.Body()) != "hello" || len(rest) != 0 {
		t.Errorf("second frame = %+v with body %q, %d left", f, f.Body(), len(rest))
	}
}

func TestPeer(t *testing.T) {
	var p Peer
	out, done := p.Manage(nil, Frame{Type: Settings, Payload: setting(nil, headerTableSize, 0)})
	if f, _, ok := Next(out); !done || !ok || f.Type != Settings || f.Flags != Ack || !p.Literal || !p.Ready {
		t.Errorf("settings without a table: done %v, answer %x, peer %+v", done, out, p)
	}
	out, done = p.Manage(nil, Frame{Type: Ping, Payload: []byte("12345678")})
	if f, _, ok := Next(out); !done || !ok || f.Flags != Ack || string(f.Payload) != "12345678" {
		t.Errorf("ping: done %v, answer %x", done, out)
	}
	if _, done := p.Manage(nil, Frame{Type: Headers}); done {
		t.Error("headers are not about the connection")
	}
}
