package h2_test

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

func TestMalformedRequestsAreRefused(t *testing.T) {
	m := newOutbound(t, []*table.Endpoint{upstream(t, "a", echo("a"))})
	r := dialRaw(t, m.addr)
	id := uint32(1)
	good := func(more ...string) []string {
		return append([]string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "echo"}, more...)
	}
	for _, tc := range []struct {
		name  string
		pairs []string
	}{
		{"no method", []string{":scheme", "http", ":path", "/"}},
		{"no path", []string{":method", "GET", ":scheme", "http"}},
		{"empty path", []string{":method", "GET", ":scheme", "http", ":path", ""}},
		{"no scheme", []string{":method", "GET", ":path", "/"}},
		{"twice", []string{":method", "GET", ":method", "POST", ":scheme", "http", ":path", "/"}},
		{"unknown pseudo-header", []string{":method", "GET", ":scheme", "http", ":path", "/", ":user", "x"}},
		{"response pseudo-header", []string{":method", "GET", ":scheme", "http", ":path", "/", ":status", "200"}},
		{"late pseudo-header", []string{":method", "GET", ":scheme", "http", "a", "b", ":path", "/"}},
		{"method with a space", []string{":method", "GE T", ":scheme", "http", ":path", "/"}},
		{"upper case", good("X-Upper", "1")},
		{"name with a colon", good("a:b", "1")},
		{"name with a line end", good("a\r\nb", "1")},
		{"value with a line end", good("a", "1\r\nb: 2")},
		{"value with NUL", good("a", "1\x00")},
		{"connection", good("connection", "close")},
		{"transfer-encoding", good("transfer-encoding", "chunked")},
		{"keep-alive", good("keep-alive", "1")},
		{"upgrade", good("upgrade", "h2c")},
		{"te", good("te", "gzip")},
		{"two lengths", good("content-length", "0", "content-length", "1")},
		{"signed length", good("content-length", "+0")},
		{"length without a body", good("content-length", "3")},
		{"host against authority", good("host", "other")},
		{"scheme that is the beginning of a URL", []string{":method", "GET", ":scheme", "http://evil/?", ":path", "/", ":authority", "echo"}},
		{"scheme with a space", []string{":method", "GET", ":scheme", "http x", ":path", "/", ":authority", "echo"}},
		{"scheme with a line end", []string{":method", "GET", ":scheme", "http\r\na: b", ":path", "/", ":authority", "echo"}},
		{"authority with a path", []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "echo/evil"}},
		{"authority with a user", []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "me@echo"}},
		{"authority with a space", []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "echo evil"}},
		{"authority with a line end", []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "echo\r\nhost: evil"}},
		{"authority with NUL", []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "echo\x00"}},
		{"empty authority", []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", ""}},
		{"two authorities", []string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "echo", ":authority", "evil"}},
		{"two paths", []string{":method", "GET", ":scheme", "http", ":path", "/", ":path", "/evil", ":authority", "echo"}},
		{"host with a path", []string{":method", "GET", ":scheme", "http", ":path", "/", "host", "echo/evil"}},
		{"two hosts", []string{":method", "GET", ":scheme", "http", ":path", "/", "host", "echo", "host", "evil"}},
		{"empty host", good("host", "")},
		{"method with a line end", []string{":method", "GET / HTTP/1.1\r\na:", ":scheme", "http", ":path", "/", ":authority", "echo"}},
		{"path with a line end", []string{":method", "GET", ":scheme", "http", ":path", "/ HTTP/1.1\r\nhost: evil\r\n\r\n", ":authority", "echo"}},
		{"path with NUL", []string{":method", "GET", ":scheme", "http", ":path", "/\x00", ":authority", "echo"}},
		{"path with DEL", []string{":method", "GET", ":scheme", "http", ":path", "/\x7f", ":authority", "echo"}},
		{"no name", good("", "1")},
		{"name with NUL", good("a\x00b", "1")},
		{"name with a space", good("transfer-encoding ", "chunked")},
		{"name with a tab", good("a\tb", "1")},
		{"name beyond ASCII", good("\xe9", "1")},
		{"pseudo-header with a colon more", good("::path", "/")},
		{"value with CR", good("a", "1\rb: 2")},
		{"value with LF", good("a", "1\nb: 2")},
		{"proxy-connection", good("proxy-connection", "close")},
		{"te in a list", good("te", "trailers, chunked")},
		{"te in capitals", good("te", "Trailers")},
		{"length in hex", good("content-length", "0x0")},
		{"negative length", good("content-length", "-0")},
		{"length list", good("content-length", "0, 0")},
		{"length beyond 63 bits", good("content-length", "9223372036854775808")},
		{"empty length", good("content-length", "")},
		{"protocol without CONNECT", []string{":method", "GET", ":protocol", "websocket", ":scheme", "http", ":path", "/", ":authority", "echo"}},
		{"CONNECT with a path", []string{":method", "CONNECT", ":scheme", "http", ":path", "/", ":authority", "echo"}},
	} {
		r.headers(id, true, tc.pairs...)
		if got := r.response(id); !got.isReset || got.reset != http2.ErrCodeProtocol {
			t.Errorf("%s: got %+v, want a reset with PROTOCOL_ERROR", tc.name, got)
		}
		id += 2
	}
	for path, method := range map[string]string{
		"/public/..%2fadmin": "GET", "/a%zz": "GET", "*": "GET", "/a b": "GET", "/a?b c": "GET", "/a?b HTTP/1.1": "GET", "/a#b": "GET", "/a?b#c": "GET", "a": "GET",
		"http://evil/": "GET", "?a": "GET", "/a\\..\\b": "GET", "/../a": "GET", "/a/..;/b": "GET",
	} {
		r.headers(id, true, ":method", method, ":scheme", "http", ":path", path, ":authority", "echo")
		if got := r.response(id); got.status != "400" || !strings.Contains(got.fields["weft-error"], "bad_request") {
			t.Errorf("path %q: got %+v, want 400", path, got)
		}
		id += 2
	}
	r.get(id, "/a/../%6fk//x?q=/..", "weft-source", "me", "weft_source", "me", "te", "trailers", "content-length", "0")
	if got := r.response(id); got.status != "200" || got.fields["x-path"] != "/ok/x?q=/.." || len(got.fields["x-id"]) != 32 || got.fields["x-source"] != "" {
		t.Errorf("after all that: %+v", got)
	}
}

func TestContentLengthMustHold(t *testing.T) {
	m := newOutbound(t, []*table.Endpoint{upstream(t, "a", func(_ int, r *raw) {
		r.requests(func(id uint32, fields map[string]string, _ string) {
			if fields[":path"] == "/short" {
				r.headers(id, false, ":status", "200", "content-length", "5")
				_ = r.fr.WriteData(id, true, []byte("abc")) // the next read tells
				return
			}
			r.headers(id, true, ":status", "200", "content-length", "5") // allowed for HEAD
		})
	})})
	r := dialRaw(t, m.addr)
	for i, data := range []string{"ab", "abcd"} {
		id := uint32(2*i + 1)
		r.headers(id, false, ":method", "POST", ":scheme", "http", ":path", "/", ":authority", "echo", "content-length", "3")
		r.must(r.fr.WriteData(id, true, []byte(data)))
		if got := r.response(id); !got.isReset || got.reset != http2.ErrCodeProtocol {
			t.Errorf("%d bytes for 3: %+v", len(data), got)
		}
	}
	r.get(101, "/short")
	if got := r.response(101); !got.isReset {
		t.Errorf("a short response: %+v, want a reset", got)
	}
	r.headers(103, true, ":method", "HEAD", ":scheme", "http", ":path", "/", ":authority", "echo")
	if got := r.response(103); got.status != "200" || got.fields["content-length"] != "5" {
		t.Errorf("HEAD: %+v", got)
	}
}

func TestTrailersLoseWhatBelongsBeforeTheBody(t *testing.T) {
	odd := []string{"sum", "1", "content-length", "9", "host", "evil", "authorization", "x", "cookie", "x", "set-cookie", "x"}
	m := newOutbound(t, []*table.Endpoint{upstream(t, "a", func(_ int, r *raw) {
		for {
			f := r.next()
			if f == nil {
				return
			}
			if h, ok := f.(*http2.MetaHeadersFrame); ok && h.StreamEnded() { // the trailers
				names := ""
				for _, field := range h.Fields {
					names += field.Name + " "
				}
				r.headers(h.StreamID, false, ":status", "200", "x-names", names)
				_ = r.fr.WriteData(h.StreamID, false, []byte("body")) // the next read tells
				r.headers(h.StreamID, true, odd...)
			}
		}
	})})
	r := dialRaw(t, m.addr)
	r.headers(1, false, ":method", "POST", ":scheme", "http", ":path", "/", ":authority", "echo")
	r.must(r.fr.WriteData(1, false, []byte("body")))
	r.headers(1, true, odd...)
	got := r.response(1)
	if got.status != "200" || got.body != "body" || got.fields["x-names"] != "sum " || got.fields["sum"] != "1" || len(got.fields) != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestLimitsOfHeaders(t *testing.T) {
	m := newOutbound(t, []*table.Endpoint{upstream(t, "a", echo("a"))})
	r := dialRaw(t, m.addr)
	// 65 KiB of list, small enough to be decoded.
	block := append([]byte(nil), r.encode(":method", "GET", ":scheme", "http", ":path", "/", ":authority", "echo",
		"a", strings.Repeat("\x01", 33<<10), "b", strings.Repeat("\x01", 33<<10))...)
	r.must(r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:16<<10], EndStream: true}))
	for rest := block[16<<10:]; len(rest) > 0; {
		n := min(len(rest), 16<<10)
		r.must(r.fr.WriteContinuation(1, n == len(rest), rest[:n]))
		rest = rest[n:]
	}
	if got := r.response(1); got.status != "431" || !strings.Contains(got.fields["weft-error"], "too_large") {
		t.Errorf("got %+v, want 431", got)
	}
	r.get(3, "/")
	if got := r.response(3); got.status != "200" {
		t.Errorf("the connection is broken: %+v", got)
	}
	if rec := m.out.wait(1)[0]; rec.Reason != flow.TooLarge {
		t.Errorf("reason %q", rec.Reason)
	}
	// Endless CONTINUATION frames.
	r.must(r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, BlockFragment: r.encode(":method", "GET"), EndStream: true}))
	for range 80 {
		if r.fr.WriteContinuation(5, false, nil) != nil {
			break
		}
	}
	r.expectGoAway(http2.ErrCodeEnhanceYourCalm)
}

func TestRapidResetIsCutOff(t *testing.T) {
	m := newOutbound(t, []*table.Endpoint{upstream(t, "a", func(_ int, r *raw) { r.requests(func(uint32, map[string]string, string) {}) })},
		withGuard(limit.Limits{Resets: 1}))
	r := dialRaw(t, m.addr)
	for i := range uint32(40) {
		r.get(2*i+1, "/")
		if r.fr.WriteRSTStream(2*i+1, http2.ErrCodeCancel) != nil {
			break
		}
	}
	r.expectGoAway(http2.ErrCodeEnhanceYourCalm)
}

// A client that lets as many streams end as it cancels is never cut off: it may be one that hedges its requests.
func TestCancellationsAmongCompleteRequests(t *testing.T) {
	m := newOutbound(t, []*table.Endpoint{upstream(t, "a", func(_ int, r *raw) {
		r.requests(func(id uint32, fields map[string]string, _ string) {
			if fields[":path"] == "/answered" {
				r.headers(id, true, ":status", "204")
			}
		})
	})}, withGuard(limit.Limits{Resets: 1}))
	r := dialRaw(t, m.addr)
	for id := uint32(1); id < 400; id += 4 {
		r.get(id, "/cancelled")
		r.must(r.fr.WriteRSTStream(id, http2.ErrCodeCancel))
		r.get(id+2, "/answered")
		if got := r.response(id + 2); got.status != "204" {
			t.Fatalf("stream %d: %+v", id+2, got)
		}
	}
}

func TestFloodsAreCutOff(t *testing.T) {
	id := uint32(1)
	for name, flood := range map[string]func(*raw) error{
		"empty data": func(r *raw) error { return r.fr.WriteData(1, false, nil) },
		"bad frames": func(r *raw) error { return r.fr.WriteWindowUpdate(1, 0) },
		"streams that we have to reset": func(r *raw) error {
			id += 2
			block := r.encode(":method", "GET", ":scheme", "http", ":path", "/", "connection", "x")
			return r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: true, EndHeaders: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newOutbound(t, []*table.Endpoint{upstream(t, "a", echo("a"))}, withGuard(limit.Limits{Resets: 1}))
			r := dialRaw(t, m.addr)
			r.headers(1, false, ":method", "POST", ":scheme", "http", ":path", "/", ":authority", "echo")
			for range 500 {
				if flood(r) != nil {
					break
				}
			}
			r.expectGoAway(http2.ErrCodeEnhanceYourCalm)
		})
	}
}

// What an endpoint sends on a stream that it has ended itself is no latecomer: it has lost count of its streams.
func TestFramesBehindTheEnd(t *testing.T) {
	for name, send := range map[string]func(*raw) error{
		"data behind the end": func(r *raw) error {
			r.headers(1, true, ":status", "204")
			return r.fr.WriteData(1, true, []byte("x"))
		},
		"headers behind the end": func(r *raw) error {
			r.headers(1, true, ":status", "204")
			return r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.encode(":status", "204"), EndStream: true, EndHeaders: true})
		},
		"data behind a reset": func(r *raw) error {
			return errors.Join(r.fr.WriteRSTStream(1, http2.ErrCodeInternal), r.fr.WriteData(1, true, []byte("x")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			code := make(chan http2.ErrCode, 1)
			m := newOutbound(t, []*table.Endpoint{upstream(t, "a", func(n int, r *raw) {
				if n > 0 { // a reset may be retried
					return
				}
				if _, ok := r.next().(*http2.MetaHeadersFrame); !ok || send(r) != nil {
					close(code)
					return
				}
				for {
					switch f := r.next().(type) {
					case *http2.GoAwayFrame:
						code <- f.ErrCode
						return
					case nil:
						close(code)
						return
					}
				}
			})})
			r := dialRaw(t, m.addr)
			r.get(1, "/")
			if got, ok := <-code; !ok || got != http2.ErrCodeStreamClosed {
				t.Errorf("GOAWAY %v %v", got, ok)
			}
		})
	}
}

func TestConnectionErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(*raw) error
		want http2.ErrCode
	}{
		"even stream":     {func(r *raw) error { r.get(2, "/"); return nil }, http2.ErrCodeProtocol},
		"data on idle":    {func(r *raw) error { return r.fr.WriteData(9, true, []byte("x")) }, http2.ErrCodeProtocol},
		"reset of idle":   {func(r *raw) error { return r.fr.WriteRSTStream(9, http2.ErrCodeCancel) }, http2.ErrCodeProtocol},
		"window of idle":  {func(r *raw) error { return r.fr.WriteWindowUpdate(9, 1) }, http2.ErrCodeProtocol},
		"window overflow": {func(r *raw) error { return r.fr.WriteWindowUpdate(0, 1<<31-1) }, http2.ErrCodeFlowControl},
		"push promise": {func(r *raw) error {
			return r.fr.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		}, http2.ErrCodeProtocol},
		"stray continuation": {func(r *raw) error { return r.fr.WriteContinuation(1, true, nil) }, http2.ErrCodeProtocol},
		"broken compression": {func(r *raw) error {
			return r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, EndHeaders: true})
		}, http2.ErrCodeCompression},
		"too large a frame": {func(r *raw) error { return r.fr.WriteData(1, true, make([]byte, 17<<10)) }, http2.ErrCodeFrameSize},
		"settings of nonsense": {func(r *raw) error {
			return r.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
		}, http2.ErrCodeFlowControl},
	} {
		t.Run(name, func(t *testing.T) {
			m := newOutbound(t, []*table.Endpoint{upstream(t, "a", echo("a"))})
			r := dialRaw(t, m.addr)
			r.must(tc.do(r))
			r.expectGoAway(tc.want)
		})
	}
}

func TestAWindowThatShrinksBelowZero(t *testing.T) {
	m := newOutbound(t, []*table.Endpoint{upstream(t, "a", func(_ int, r *raw) {
		r.requests(func(id uint32, _ map[string]string, _ string) {
			r.headers(id, false, ":status", "200")
			for i := range 4 {
				_ = r.fr.WriteData(id, i == 3, make([]byte, 10_000)) // the next read tells
			}
		})
	})})
	r := dialRaw(t, m.addr)
	r.must(r.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 20_000}))
	r.get(1, "/")
	got := 0
	for got < 20_000 {
		if f, ok := r.next().(*http2.DataFrame); ok {
			got += len(f.Data())
		}
	}
	r.must(r.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5_000})) // now 15,000 below zero
	r.must(r.fr.WriteWindowUpdate(1, 15_000))
	r.must(r.fr.WriteWindowUpdate(1, 20_000))
	for got < 40_000 {
		f := r.next()
		if f == nil {
			t.Fatalf("the connection ended after %d bytes", got)
		}
		if d, ok := f.(*http2.DataFrame); ok {
			got += len(d.Data())
		}
	}
}
