package walktest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/table"
)

// dribble writes byte by byte.
type dribble struct{ io.Writer }

func (d dribble) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := d.Writer.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// TestExchangesMeanTheSameDribbled: requests and responses of every framing, each sent whole and byte by byte, by the client, by the
// program, and by both.
func TestExchangesMeanTheSameDribbled(t *testing.T) {
	const (
		requests = "\r\nGET /sized HTTP/1.1\r\nHost: a\r\nX-Request-Id: 1\r\n\r\n" +
			"POST /chunked HTTP/1.1\r\nHost: a\r\nX-Request-Id: 2\r\nContent-Length: 4\r\n\r\nbody" +
			"HEAD /sized HTTP/1.1\r\nHost: a\r\nX-Request-Id: 3\r\n\r\n" +
			"POST /none HTTP/1.1\r\nHost: a\r\nX-Request-Id: 4\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n" +
			"PUT /early HTTP/1.1\r\nHost: a\r\nX-Request-Id: 5\r\nContent-Length: 3\r\n\r\nxyz" +
			"GET /until-close HTTP/1.1\r\nHost: a\r\nX-Request-Id: 6\r\n\r\n" +
			"GET /sized HTTP/1.1\nHost: a\r\n\r\n" // refused
		seen = "GET /sized ;POST /chunked body;HEAD /sized ;POST /none abcde;PUT /early xyz;GET /until-close ;"
	)
	want := "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n\r\nsized" +
		"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\nchunked X-Sum" +
		"HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n\r\n" +
		"HTTP/1.1 204 No Content\r\n\r\n" +
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly" +
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nuntil close" +
		"HTTP/1.1 400 Bad Request"
	for name, slow := range map[string]struct{ client, program bool }{
		"whole": {}, "client": {client: true}, "program": {program: true}, "both": {client: true, program: true},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan string, 20)
			app := raw(func(c net.Conn) { answers(c, slow.program, asked) })
			walks(t, table.HTTP, app, func(t *testing.T, w *walk) {
				conn := dial(t, w.addr)
				go func() {
					var to io.Writer = conn
					if slow.client {
						to = dribble{conn}
					}
					io.WriteString(to, requests)
					conn.CloseWrite()
				}()
				got, err := io.ReadAll(conn)
				if err != nil {
					t.Fatal(err)
				}
				if text := unchunked(string(got)); !strings.HasPrefix(text, want) || strings.Count(text, "HTTP/1.1 ") != 8 {
					t.Errorf("got %q", text)
				}
				var all string
				for range 6 {
					all += <-asked
				}
				if all != seen || len(asked) > 0 {
					t.Errorf("the program saw %q", all)
				}
			})
		})
	}
}

// answers is the program's side of one connection.
func answers(c net.Conn, slow bool, asked chan<- string) {
	var to io.Writer = c
	if slow {
		to = dribble{c}
	}
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		body, _ := io.ReadAll(req.Body)
		asked <- fmt.Sprintf("%s %s %s;", req.Method, req.URL.Path, body)
		switch answer := "HTTP/1.1 200 OK\r\n"; req.URL.Path {
		case "/sized":
			answer += "X-A: b\r\nContent-Length: 5\r\n\r\n"
			if req.Method != http.MethodHead {
				answer += "sized"
			}
			io.WriteString(to, answer)
		case "/chunked":
			io.WriteString(to, answer+"Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nchu\r\n4\r\nnked\r\n0\r\nX-Sum: 7\r\n\r\n")
		case "/none":
			io.WriteString(to, "HTTP/1.1 204 No Content\r\n\r\n")
		case "/early":
			io.WriteString(to, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"+answer+"Content-Length: 5\r\n\r\nearly")
		default:
			io.WriteString(to, answer+"\r\nuntil close")
			return
		}
	}
}

// unchunked takes the chunks out of a stream of responses: how many there are depends on how the bytes came.
func unchunked(stream string) string {
	var out strings.Builder
	for {
		head, rest, ok := strings.Cut(stream, "Transfer-Encoding: chunked\r\n\r\n")
		out.WriteString(head)
		if !ok {
			return out.String()
		}
		out.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		r := bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + rest))
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return out.String() + err.Error()
		}
		body, err := io.ReadAll(resp.Body)
		out.Write(body)
		if err != nil {
			out.WriteString(err.Error())
		}
		for name := range resp.Trailer {
			out.WriteString(" " + name)
		}
		left, _ := io.ReadAll(r)
		stream = string(left)
	}
}
