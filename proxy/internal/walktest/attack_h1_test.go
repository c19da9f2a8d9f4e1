package walktest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// all reads what comes until the end, whatever ends it, and closes.
func all(c net.Conn) string {
	defer c.Close()
	got, _ := io.ReadAll(c)
	return string(got)
}

// TestAttackSlowloris: many clients begin a head and never end it.
func TestAttackSlowloris(t *testing.T) {
	const many = 100
	sieges(t, limit.Limits{HeadTime: time.Second}, table.HTTP, handler(echo), func(s *siege) {
		var conns []net.Conn
		for range many {
			c := dial(s.t, s.addr)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nx: ")
			conns = append(conns, c)
		}
		s.holdsAtMost(4 * mebibyte)
		for _, c := range conns {
			answered(s.t, all(c), "408", flow.TooSlow, limit.HeadTime)
		}
		s.counted(limit.HeadTime)
		s.recorded(flow.TooSlow, limit.HeadTime)
	})
}

// TestAttackOversizedHeads: targets, fields and heads that are too long or too many.
func TestAttackOversizedHeads(t *testing.T) {
	for _, tt := range []struct {
		name, send, status string
		over               limit.Name
	}{
		{"target", "GET /" + strings.Repeat("a", 1000) + " HTTP/1.1\r\nHost: a\r\n\r\n", "414", limit.TargetBytes},
		{"fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("x: y\r\n", 40) + "\r\n", "431", limit.HeadFields},
		{"head", "GET / HTTP/1.1\r\nHost: a\r\nx: " + strings.Repeat("y", 9<<10) + "\r\n\r\n", "431", limit.HeadBytes},
		{"head without end", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("x: y\r\n", 100_000), "431", limit.HeadBytes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sieges(t, limit.Limits{TargetBytes: 500, HeadFields: 30, HeadBytes: 8 << 10}, table.HTTP, handler(echo), func(s *siege) {
				c := dial(s.t, s.addr)
				go io.WriteString(c, tt.send) // may be cut short
				answered(s.t, all(c), tt.status, flow.TooLarge, tt.over)
				s.counted(tt.over)
				s.recorded(flow.TooLarge, tt.over)
				s.holdsAtMost(4 * mebibyte)
			})
		})
	}
}

// TestAttackTinyChunks: a body that is made of chunks of one byte arrives, and nothing of it is held.
func TestAttackTinyChunks(t *testing.T) {
	const chunks = 300_000
	count := func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	}
	sieges(t, limit.Limits{}, table.HTTP, handler(count), func(s *siege) {
		c := dial(s.t, s.addr)
		go func() {
			w := bufio.NewWriter(c)
			io.WriteString(w, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
			for range chunks {
				io.WriteString(w, "1\r\nx\r\n")
			}
			io.WriteString(w, "0\r\n\r\n")
			w.Flush()
		}()
		if got := all(c); !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.HasSuffix(got, fmt.Sprint("\r\n\r\n", chunks)) {
			s.t.Errorf("got %q", got)
		}
		s.holdsAtMost(4 * mebibyte)
	})
}

// TestAttackChunkFraming: what stands around chunks is bounded too.
func TestAttackChunkFraming(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, tt := range []struct {
		name, send, status string
		reason             flow.Reason
		over               limit.Name
	}{
		{"extension", head + "1;" + strings.Repeat("e", 2<<10) + "\r\nx\r\n0\r\n\r\n", "400", flow.BadRequest, limit.ChunkLine},
		{"size without end", head + strings.Repeat("0", 100_000), "400", flow.BadRequest, limit.ChunkLine},
		{"trailers", head + "0\r\n" + strings.Repeat("x: y\r\n", 100_000) + "\r\n", "431", flow.TooLarge, limit.Trailers},
		{"trailer without end", head + "0\r\nx: " + strings.Repeat("y", 1_000_000), "431", flow.TooLarge, limit.Trailers},
		{"many trailers", head + "0\r\n" + strings.Repeat("x: y\r\n", 300) + "\r\n", "431", flow.TooLarge, limit.Trailers},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sieges(t, limit.Limits{}, table.HTTP, handler(echo), func(s *siege) {
				c := dial(s.t, s.addr)
				go io.WriteString(c, tt.send) // may be cut short
				answered(s.t, all(c), tt.status, tt.reason, tt.over)
				s.counted(tt.over)
				s.recorded(tt.reason, tt.over)
				s.holdsAtMost(4 * mebibyte)
			})
		})
	}
}

// TestAttackPipelining: a client sends requests without reading, as many as it can. What is held is what the kernel and one
// buffer hold, and all that were taken are answered in order once it reads.
func TestAttackPipelining(t *testing.T) {
	const requests = 2000
	sieges(t, limit.Limits{}, table.HTTP, handler(echo), func(s *siege) {
		c := dial(s.t, s.addr)
		sent := make(chan error, 1)
		go func() {
			for i := range requests {
				if _, err := fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		s.records.Wait(50) // it is well under way
		s.holdsAtMost(16 * mebibyte)
		r := bufio.NewReader(c)
		for i := range requests {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				s.t.Fatalf("answer %d: %v", i, err)
			}
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != fmt.Sprintf("GET /%d ", i) {
				s.t.Fatalf("answer %d: %q, %v", i, body, err)
			}
		}
		if err := <-sent; err != nil {
			s.t.Error(err)
		}
		c.Close()
	})
}
