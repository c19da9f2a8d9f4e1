package h1

import (
	"errors"
	"strings"
	"testing"
)

// head parses like the engine: first the end, then the content.
func parseRequest(raw string) (*Request, error) {
	end, _, err := HeadEnd([]byte(raw), 0)
	if err != nil {
		return nil, err
	}
	if end == 0 {
		return nil, errIncomplete
	}
	r := &Request{}
	return r, r.Parse([]byte(raw)[:end])
}

var errIncomplete = errors.New("incomplete")

func TestRequestTraps(t *testing.T) {
	tests := []struct {
		name, raw string
		want      error
	}{
		{"plain", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", nil},
		{"CL and TE", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", ErrSmuggling},
		{"TE and CL", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", ErrSmuggling},
		{"two different CL", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", ErrLength},
		{"two equal CL", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", nil},
		{"CL with sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", ErrLength},
		{"negative CL", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", ErrLength},
		{"CL list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n", ErrLength},
		{"CL in hex", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n", ErrLength},
		{"empty CL", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", ErrLength},
		{"CL overflow", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", ErrLength},
		{"TE not chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", ErrEncoding},
		{"TE chunked is not last", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n", ErrEncoding},
		{"TE with a coding before", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", ErrEncoding},
		{"TE twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", ErrEncoding},
		{"TE with NUL", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\x00\r\n\r\n", ErrField},
		{"TE quoted", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", ErrEncoding},
		{"TE with vertical tab", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", ErrField},
		{"TE in capitals", "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: CHUNKED\r\n\r\n", nil},
		{"TE in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", ErrEncoding},
		{"space before colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", ErrField},
		{"no colon", "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", ErrField},
		{"empty name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", ErrField},
		{"control in name", "GET / HTTP/1.1\r\nHost: a\r\nx\x01: x\r\n\r\n", ErrField},
		{"bare LF ends a field", "GET / HTTP/1.1\nHost: a\r\n\r\n", ErrLineEnd},
		{"bare LF ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\n", ErrLineEnd},
		{"bare CR in value", "GET / HTTP/1.1\r\nHost: a\r\nx: a\rb\r\n\r\n", ErrField},
		{"NUL in value", "GET / HTTP/1.1\r\nHost: a\r\nx: a\x00b\r\n\r\n", ErrField},
		{"obs-fold", "GET / HTTP/1.1\r\nHost: a\r\nx: a\r\n b\r\n\r\n", ErrFold},
		{"fold on the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", ErrFold},
		{"no Host", "GET / HTTP/1.1\r\nx: a\r\n\r\n", ErrHost},
		{"no Host in 1.0", "GET / HTTP/1.0\r\n\r\n", nil},
		{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", ErrHost},
		{"Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", ErrHost},
		{"Host with user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", ErrHost},
		{"no target", "GET  HTTP/1.1\r\nHost: a\r\n\r\n", ErrStartLine},
		{"no version", "GET /\r\nHost: a\r\n\r\n", ErrStartLine},
		{"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
		{"space in target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
		{"tab between", "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", ErrStartLine},
		{"control in target", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
		{"fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
		{"ambiguous path", "GET /a/..%2fb HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
		{"star without OPTIONS", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
		{"star", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", nil},
		{"absolute form of another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", ErrTarget},
		{"absolute form with user", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", ErrHost},
		{"absolute form without host", "GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", ErrHost},
		{"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", ErrVersion},
		{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", ErrVersion},
		{"lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", ErrVersion},
		{"HTTP/0.9", "GET /\r\n\r\n", ErrStartLine},
		{"bad method", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", ErrStartLine},
		{"long target", "GET /" + strings.Repeat("a", maxTarget) + " HTTP/1.1\r\nHost: a\r\n\r\n", ErrTargetSize},
		{"too many fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("a: b\r\n", maxFields) + "\r\n", ErrFields},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := parseRequest(tt.raw); !errors.Is(err, tt.want) {
				t.Errorf("want %v, got %v", tt.want, err)
			}
		})
	}
}

func TestRequestMeaning(t *testing.T) {
	r, err := parseRequest("PUT http://Shop:8080/a/../b?c=d HTTP/1.1\r\nHost: other\r\nX-Tag: one\r\nx-tag:two \r\nExpect: 100-Continue\r\n" +
		"Content-Length: 3\r\nConnection: keep-alive, close\r\nweft-source: evil\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	tag, ok := r.Header("x-tag")
	if string(tag) != "one, two" || !ok {
		t.Errorf("x-tag is %q, %v", tag, ok)
	}
	if _, ok := r.Header("weft-source"); ok {
		t.Error("a rule can see weft-source")
	}
	if v, _ := r.Header("host"); string(v) != "Shop:8080" {
		t.Errorf("host is %q", v)
	}
	if string(r.Path()) != "/b" || string(r.Method()) != "PUT" || !r.Idempotent() || !r.Close || !r.Continue || r.Body != Sized || r.Length != 3 {
		t.Errorf("got %+v", r)
	}
}

// TestRulesSeeWhatTheNextHopSees: a field that ends here must not decide about a request that arrives without it.
func TestRulesSeeWhatTheNextHopSees(t *testing.T) {
	r, err := parseRequest("POST / HTTP/1.1\r\nHost: a\r\nConnection: x-role, te\r\nX-Role: reader\r\nX-Kept: yes\r\nKeep-Alive: 5\r\nProxy-User: me\r\n" +
		"Weft_Source: me\r\nTE: gzip, trailers\r\nUpgrade: h2c\r\nExpect: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	view := r.View()
	for name, want := range map[string]string{
		"x-role": "", "x-kept": "yes", "keep-alive": "", "proxy-user": "", "weft_source": "", "te": "trailers", "upgrade": "", "expect": "100-continue",
		"connection": "", "content-length": "3", "host": "a",
	} {
		for _, req := range []*Request{r, &view} {
			if got, ok := req.Header(name); string(got) != want || ok != (want != "") {
				t.Errorf("%s is %q, %v; want %q", name, got, ok, want)
			}
		}
	}
}

func TestRequestComposed(t *testing.T) {
	tests := []struct{ name, raw, want string }{
		{"hop by hop is removed",
			"GET /a HTTP/1.1\r\nHost: h\r\nKeep-Alive: 5\r\nA: 1\r\nProxy-Authorization: x\r\nTE: gzip, trailers\r\nB: 2\r\nConnection: A, close\r\nHTTP2-Settings: x\r\n\r\n",
			"GET /a HTTP/1.1\r\nHost: h\r\nB: 2\r\nx-request-id: ID\r\nweft-source: SRC\r\nTE: trailers\r\nConnection: TE\r\n\r\n"},
		{"nomination of what protects is ignored",
			"GET / HTTP/1.1\r\nHost: h\r\nConnection: authorization, x-forwarded-for, host\r\nAuthorization: b\r\nX-Forwarded-For: c\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: b\r\nX-Forwarded-For: c\r\nx-request-id: ID\r\nweft-source: SRC\r\n\r\n"},
		{"weft fields of the app are removed",
			"GET / HTTP/1.1\r\nHost: h\r\nWeft-Source: x\r\nweft_source: x\r\nweft-anything: x\r\nC: d\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nC: d\r\nx-request-id: ID\r\nweft-source: SRC\r\n\r\n"},
		{"request id is kept",
			"GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: mine\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: mine\r\nweft-source: SRC\r\n\r\n"},
		{"absolute form becomes origin form",
			"GET http://x:1?q HTTP/1.1\r\nHost: h\r\n\r\n",
			"GET /?q HTTP/1.1\r\nHost: x:1\r\nx-request-id: ID\r\nweft-source: SRC\r\n\r\n"},
		{"the clean path is forwarded",
			"GET //a/%2e%2e/b?x=// HTTP/1.1\r\nHost: h\r\n\r\n",
			"GET /b?x=// HTTP/1.1\r\nHost: h\r\nx-request-id: ID\r\nweft-source: SRC\r\n\r\n"},
		{"framing is written anew",
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 03\r\nContent-Length: 3\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: h\r\nx-request-id: ID\r\nweft-source: SRC\r\nContent-Length: 3\r\n\r\n"},
		{"websocket",
			"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: k\r\nx-request-id: ID\r\nweft-source: SRC\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"},
		{"h2c is not passed on",
			"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nx-request-id: ID\r\nweft-source: SRC\r\n\r\n"},
		{"upgrade with a body is not passed on",
			"POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: h\r\nx-request-id: ID\r\nweft-source: SRC\r\nContent-Length: 3\r\n\r\n"},
		{"any protocol may be asked for, but versions of HTTP and TLS",
			"GET / HTTP/1.1\r\nHost: h\r\nConnection: x, upgrade\r\nUpgrade: h2c, chat/2,,HTTP/2.0\r\nUpgrade: TLS/1.3, irc/6.9, a b, x/\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nx-request-id: ID\r\nweft-source: SRC\r\nConnection: Upgrade\r\nUpgrade: chat/2, irc/6.9\r\n\r\n"},
		{"upgrade that Connection does not name is not passed on",
			"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nx-request-id: ID\r\nweft-source: SRC\r\n\r\n"},
		{"HTTP/1.0 has no upgrade",
			"GET / HTTP/1.0\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nx-request-id: ID\r\nweft-source: SRC\r\n\r\n"},
		{"trailers are asked for once, whatever else TE says",
			"GET / HTTP/1.1\r\nHost: h\r\nTE: gzip;q=0.5, Trailers\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nx-request-id: ID\r\nweft-source: SRC\r\nTE: trailers\r\nConnection: TE\r\n\r\n"},
		{"codings of one hop are not asked for",
			"GET / HTTP/1.1\r\nHost: h\r\nTE: gzip\r\nConnection: TE\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nx-request-id: ID\r\nweft-source: SRC\r\n\r\n"},
		{"what proxies before this one have said of the client stays as it is",
			"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4\r\nVia: 1.1 edge\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4\r\nVia: 1.1 edge\r\nx-request-id: ID\r\nweft-source: SRC\r\n\r\n"},
		{"HTTP/1.0 gets a host",
			"GET / HTTP/1.0\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: web.default\r\nx-request-id: ID\r\nweft-source: SRC\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := parseRequest(tt.raw)
			if err != nil {
				t.Fatal(err)
			}
			got := string(AppendRequest(nil, r, RequestEdit{RequestID: "ID", Source: "SRC", Host: "web.default"}))
			if got != tt.want {
				t.Errorf("want %q\ngot  %q", tt.want, got)
			}
			if _, err := parseRequest(got); err != nil {
				t.Errorf("what was composed is refused: %v", err)
			}
		})
	}
}

func TestParseAndComposeDoNotAllocate(t *testing.T) {
	raw := []byte("GET /products/42?color=red HTTP/1.1\r\nHost: web\r\nUser-Agent: curl/8\r\nAccept: */*\r\nX-Request-Id: 0123\r\nCookie: a=b\r\nConnection: keep-alive\r\n\r\n")
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nDate: x\r\n\r\n")
	var req Request
	var resp Response
	out := make([]byte, 0, 4096)
	run := func() {
		end, _, _ := HeadEnd(raw, 0)
		if req.Parse(raw[:end]) != nil || resp.Parse(answer, req.Method()) != nil {
			t.Fatal("not parsed")
		}
		req.Header("cookie")
		AppendRequest(out, &req, RequestEdit{Source: "spiffe://weft.local/ns/default/sa/shop"})
		AppendResponse(out, &resp, ResponseEdit{Body: Sized})
	}
	run() // the first use makes room
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzRequest checks that a head means the same whether it comes whole or byte by byte, and that what is composed from it is
// accepted by the next hop and means the same there.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST http://b/x?y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: x\r\nX: y\r\n\r\n",
		"GET /a/%2e./b HTTP/1.0\r\nA:\tb \r\nConnection: keep-alive\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\n\n",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, te\r\nUpgrade: h2c, a/1\r\nUpgrade:websocket\r\nTE: trailers\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		whole, _, werr := HeadEnd(raw, 0)
		dribbled, from, derr := 0, 0, error(nil)
		for n := 1; n <= len(raw) && dribbled == 0 && derr == nil; n++ {
			dribbled, from, derr = HeadEnd(raw[:n], from)
		}
		if whole != dribbled || !errors.Is(derr, werr) {
			t.Fatalf("whole: %d, %v; dribbled: %d, %v", whole, werr, dribbled, derr)
		}
		if whole == 0 || werr != nil {
			return
		}
		var r, again Request
		if r.Parse(raw[:whole]) != nil || r.Connect {
			return
		}
		out := AppendRequest(nil, &r, RequestEdit{Host: "fallback"})
		if end, _, err := HeadEnd(out, 0); err != nil || end != len(out) {
			t.Fatalf("composed %q: head of %d bytes, %v", out, end, err)
		}
		if err := again.Parse(out); err != nil {
			t.Fatalf("composed %q: %v", out, err)
		}
		if string(again.Path()) != string(r.Path()) || string(again.Method()) != string(r.Method()) || again.Body != r.Body || r.Body == Sized && again.Length != r.Length ||
			string(again.Upgrade) != string(r.Upgrade) || again.Trailers != r.Trailers || listed(r.Upgrade, []byte("h2c")) {
			t.Fatalf("%q became %q", raw[:whole], out)
		}
	})
}
