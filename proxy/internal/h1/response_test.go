package h1

import (
	"errors"
	"testing"
)

func TestResponseTraps(t *testing.T) {
	tests := []struct {
		name, raw, method string
		want              error
		body              Framing
		closes            bool
	}{
		{name: "sized", raw: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", body: Sized},
		{name: "chunked", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", body: Chunked},
		{name: "no reason phrase", raw: "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", body: Sized},
		{name: "close-delimited", raw: "HTTP/1.1 200 OK\r\n\r\n", body: UntilClose, closes: true},
		{name: "HEAD has no body", method: "HEAD", raw: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", body: NoBody},
		{name: "chunked HEAD has no body", method: "HEAD", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", body: NoBody},
		{name: "204 has no body", raw: "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", body: NoBody},
		{name: "304 has no body", raw: "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", body: NoBody},
		{name: "100 has no body", raw: "HTTP/1.1 100 Continue\r\n\r\n", body: NoBody},
		{name: "1.0 closes", raw: "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", body: Sized, closes: true},
		{name: "1.0 keeps alive", raw: "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: Keep-Alive\r\n\r\n", body: Sized},
		{name: "close", raw: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n", body: Sized, closes: true},
		{name: "CL and TE", raw: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", want: ErrSmuggling},
		{name: "two different CL", raw: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", want: ErrLength},
		{name: "CL with sign", raw: "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n", want: ErrLength},
		{name: "TE not chunked", raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", want: ErrEncoding},
		{name: "space before colon", raw: "HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\n", want: ErrField},
		{name: "bare CR in value", raw: "HTTP/1.1 200 OK\r\nA: b\rContent-Length: 3\r\n\r\n", want: ErrField},
		{name: "TE of 1.0", raw: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", want: ErrEncoding},
		{name: "fold", raw: "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 3\r\n\r\n", want: ErrFold},
		{name: "two status digits", raw: "HTTP/1.1 99 OK\r\n\r\n", want: ErrStartLine},
		{name: "four status digits", raw: "HTTP/1.1 2000 OK\r\n\r\n", want: ErrStartLine},
		{name: "status with sign", raw: "HTTP/1.1 +20 OK\r\n\r\n", want: ErrStartLine},
		{name: "HTTP/2", raw: "HTTP/2.0 200 OK\r\n\r\n", want: ErrVersion},
		{name: "control in phrase", raw: "HTTP/1.1 200 O\x00K\r\n\r\n", want: ErrStartLine},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r Response
			err := r.Parse([]byte(tt.raw), []byte(tt.method))
			if !errors.Is(err, tt.want) {
				t.Fatalf("want %v, got %v", tt.want, err)
			}
			if err == nil && (r.Body != tt.body || r.Close != tt.closes) {
				t.Errorf("body %v, close %v", r.Body, r.Close)
			}
		})
	}
}

func TestResponseComposed(t *testing.T) {
	tests := []struct {
		name, raw, method, want string
		edit                    ResponseEdit
	}{
		{name: "hop by hop is removed", raw: "HTTP/1.1 200 Fine\r\nA: 1\r\nKeep-Alive: x\r\nConnection: B\r\nB: 2\r\nweft-error: lie\r\nContent-Length: 3\r\n\r\n",
			edit: ResponseEdit{Body: Sized}, want: "HTTP/1.1 200 Fine\r\nA: 1\r\nContent-Length: 3\r\n\r\n"},
		{name: "a sidecar's failure is passed on", raw: "HTTP/1.1 403 Forbidden\r\nweft-error: hop=inbound\r\nContent-Length: 3\r\n\r\n",
			edit: ResponseEdit{Body: Sized, Mesh: true}, want: "HTTP/1.1 403 Forbidden\r\nweft-error: hop=inbound\r\nContent-Length: 3\r\n\r\n"},
		{name: "HEAD keeps its length", method: "HEAD", raw: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
			want: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"},
		{name: "close-delimited becomes chunked", raw: "HTTP/1.1 200 OK\r\n\r\n",
			edit: ResponseEdit{Body: Chunked}, want: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{name: "last", raw: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
			edit: ResponseEdit{Body: Sized, Close: true}, want: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n"},
		{name: "switch", raw: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\n",
			want: "HTTP/1.1 101 Switching Protocols\r\nA: b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"},
		{name: "what a server wants instead is passed on", raw: "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: h2c, chat/2\r\nContent-Length: 0\r\n\r\n",
			edit: ResponseEdit{Body: Sized}, want: "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: chat/2\r\nContent-Length: 0\r\n\r\n"},
		{name: "an offer that nobody asked for is not", raw: "HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: chat/2\r\nContent-Length: 0\r\n\r\n",
			edit: ResponseEdit{Body: Sized}, want: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{name: "early hints", raw: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", edit: ResponseEdit{Close: true},
			want: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r Response
			if err := r.Parse([]byte(tt.raw), []byte(tt.method)); err != nil {
				t.Fatal(err)
			}
			if got := string(AppendResponse(nil, &r, tt.edit)); got != tt.want {
				t.Errorf("want %q\ngot  %q", tt.want, got)
			}
		})
	}
}

func TestSwitchOnlyToWhatWasAsked(t *testing.T) {
	for _, tt := range []struct {
		asked, fields string
		want          bool
	}{
		{"websocket", "Connection: Upgrade\r\nUpgrade: WebSocket\r\n", true},
		{"chat/2, websocket", "Connection: x, upgrade\r\nUpgrade: chat/2\r\n", true},
		{"websocket", "Connection: Upgrade\r\nUpgrade: h2c\r\n", false},
		{"websocket", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", false},
		{"websocket", "Connection: Upgrade\r\n", false},
		{"websocket", "Upgrade: websocket\r\n", false},
		{"", "Connection: Upgrade\r\nUpgrade: websocket\r\n", false},
	} {
		var r Response
		if err := r.Parse([]byte("HTTP/1.1 101 Switching Protocols\r\n"+tt.fields+"\r\n"), []byte("GET")); err != nil {
			t.Fatal(err)
		}
		if got := r.SwitchedTo([]byte(tt.asked)); got != tt.want {
			t.Errorf("asked for %q, answered %q: %v", tt.asked, tt.fields, got)
		}
	}
}

// FuzzResponse checks that what is composed from a response is accepted by the previous hop and means the same there: the same
// status, body and length, and never a switch to what was not asked for.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
		"HTTP/1.0 200\r\nConnection: keep-alive, x\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat/2\r\nUpgrade: websocket\r\n\r\n",
		"HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: h2c, a\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nweft-error: x\r\n\r\n",
	} {
		f.Add([]byte(seed), false)
	}
	const asked = "websocket, chat/2"
	f.Fuzz(func(t *testing.T, raw []byte, head bool) {
		method := map[bool]string{true: "HEAD", false: "GET"}[head]
		end, _, err := HeadEnd(raw, 0)
		if err != nil || end == 0 {
			return
		}
		var r, again Response
		if r.Parse(raw[:end], []byte(method)) != nil || r.Status == 101 && !r.SwitchedTo([]byte(asked)) {
			return
		}
		framing := r.Body
		if framing == UntilClose {
			framing = Chunked
		}
		out := AppendResponse(nil, &r, ResponseEdit{Body: framing})
		if end, _, err := HeadEnd(out, 0); err != nil || end != len(out) {
			t.Fatalf("composed %q: head of %d bytes, %v", out, end, err)
		}
		if err := again.Parse(out, []byte(method)); err != nil {
			t.Fatalf("composed %q: %v", out, err)
		}
		if again.Status != r.Status || again.Body != framing || framing == Sized && again.Length != r.Length ||
			again.Informational() != r.Informational() || r.Status == 101 && !again.SwitchedTo([]byte(asked)) || again.MeshError() != nil {
			t.Fatalf("%q became %q", raw[:end], out)
		}
	})
}
