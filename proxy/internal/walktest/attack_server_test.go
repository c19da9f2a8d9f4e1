package walktest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// TestAttackByServer: a program whose answers have no end where they should have one. The client gets a readable answer.
func TestAttackByServer(t *testing.T) {
	for _, tt := range []struct {
		name, flood string
		over        limit.Name
	}{
		{"1xx", "HTTP/1.1 102 Processing\r\n\r\n", limit.Informational},
		{"fields", "x: y\r\n", limit.HeadBytes},
		{"one field", strings.Repeat("y", 1000), limit.HeadBytes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			app := raw(func(c net.Conn) {
				r := bufio.NewReader(c)
				for {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					if req.URL.Path == "/bystander" {
						io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
						continue
					}
					if tt.over == limit.HeadBytes {
						io.WriteString(c, "HTTP/1.1 200 OK\r\nx: ")
					}
					for err == nil {
						_, err = io.WriteString(c, tt.flood)
					}
					return
				}
			})
			sieges(t, limit.Limits{HeadBytes: 16 << 10}, table.HTTP, app, func(s *siege) {
				for range 20 {
					c := dial(s.t, s.addr)
					io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
					if got := strings.ReplaceAll(all(c), tt.flood, ""); !strings.HasPrefix(got, "HTTP/1.1 502 ") || !strings.Contains(got, "reason=upstream_protocol, id=") {
						s.t.Errorf("got %q", got)
					}
				}
				s.holdsAtMost(8 * mebibyte)
				if s.records.Wait(1)[0].Direction == flow.Inbound {
					s.counted(tt.over)
					s.recorded(flow.UpstreamProtocol, tt.over)
				}
			})
		})
	}
}
