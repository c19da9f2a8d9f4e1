package walktest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// TestR8_ProgramsHearOfClientsThatLeave: a program that works on an answer hears of the end of its client as it would without a
// sidecar. What it does then is its own choice: a client that only ended its own direction gets an answer if there is one.
func TestR8_ProgramsHearOfClientsThatLeave(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for name, tc := range map[string]struct {
		path  string
		body  string
		leave func(*net.TCPConn) error
		want  string // what the client still gets
	}{
		"half":              {"/answer", "", (*net.TCPConn).CloseWrite, answer},
		"half, with a body": {"/answer", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", (*net.TCPConn).CloseWrite, answer},
		"whole":             {"/", "", (*net.TCPConn).Close, ""},
		"reset": {"/", "", func(c *net.TCPConn) error {
			c.SetLinger(0)
			return c.Close()
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			begun := make(chan bool, 1)
			walks(t, table.HTTP, raw(func(conn net.Conn) {
				r := bufio.NewReader(conn)
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				io.Copy(io.Discard, req.Body)
				begun <- true
				io.Copy(io.Discard, r) // until the client has left
				if req.URL.Path == "/answer" {
					io.WriteString(conn, answer)
				}
			}), func(t *testing.T, w *walk) {
				conn := dial(t, w.addr)
				io.WriteString(conn, "GET "+tc.path+" HTTP/1.1\r\nHost: a\r\n"+tc.body+"\r\n")
				<-begun
				if err := tc.leave(conn); err != nil {
					t.Fatal(err)
				}
				if tc.want == "" {
					rec := w.records.Wait(1)[0]
					if rec.Reason != flow.ClientGone || rec.Tries != 1 {
						t.Errorf("record %+v", rec)
					}
					return
				}
				if got, err := io.ReadAll(conn); err != nil || string(got) != tc.want {
					t.Errorf("got %q, %v", got, err)
				}
				if rec := w.records.Wait(1)[0]; rec.Reason != flow.None {
					t.Errorf("record %+v", rec)
				}
			})
		})
	}
}
