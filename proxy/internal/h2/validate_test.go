package h2

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
	"pgregory.net/rapid"
)

// FuzzRequestHead checks that whatever is accepted is unambiguous for whoever reads it next.
func FuzzRequestHead(f *testing.F) {
	f.Add("GET", "/a", "x-a", "b", "te", "trailers")
	f.Add("POST", "/a?b", "content-length", "12", "content-length", "12")
	f.Add("GET", "*", "host", "a", "connection", "close")
	f.Add("OPTIONS", "*", "X-A", "b\r\nc: d", ":path", "/")
	f.Fuzz(func(t *testing.T, method, path, name1, value1, name2, value2 string) {
		fields := []hpack.HeaderField{
			{Name: ":method", Value: method}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: path},
			{Name: name1, Value: value1}, {Name: name2, Value: value2},
		}
		h, err := validateRequest(fields)
		if err != nil {
			return
		}
		var r request
		ok := r.parse(fields, &h)
		if strings.ContainsAny(method+path, "\r\n\x00 ") && ok {
			t.Fatalf("accepted method %q, path %q", method, path)
		}
		for _, f := range fields[3:] {
			switch {
			case strings.ContainsAny(f.Value, "\r\n\x00"), f.Name != strings.ToLower(f.Name), strings.ContainsAny(f.Name, "\r\n\x00 ") || f.Name == "":
				t.Fatalf("accepted %q: %q", f.Name, f.Value)
			case f.IsPseudo() && f.Name != ":authority":
				t.Fatalf("accepted a second %q", f.Name)
			case f.Name == "connection" || f.Name == "transfer-encoding" || f.Name == "upgrade":
				t.Fatalf("accepted %q", f.Name)
			}
		}
		if ok && (len(r.Path()) == 0 || r.Path()[0] != '/' && string(r.Path()) != "*") {
			t.Fatalf("path %q of target %q", r.Path(), path)
		}
		r.Header(name1)
	})
}

func TestHeadersAreJoined(t *testing.T) {
	r := request{authority: "echo", fields: []hpack.HeaderField{
		{Name: ":path", Value: "/"}, {Name: "a", Value: "1"}, {Name: "cookie", Value: "x=1"}, {Name: "a", Value: "2"}, {Name: "cookie", Value: "y=2"},
		{Name: "weft-source", Value: "me"}, {Name: "weft_source", Value: "me"},
	}}
	for name, want := range map[string]string{"a": "1, 2", "cookie": "x=1; y=2", "host": "echo"} {
		if got, ok := r.Header(name); !ok || string(got) != want {
			t.Errorf("Header(%q) = %q, %v; want %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"b", ":path", "weft-source", "weft_source"} {
		if got, ok := r.Header(name); ok {
			t.Errorf("Header(%q) = %q", name, got)
		}
	}
}

func TestTimeouts(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second, "4m": 4 * time.Millisecond, "5u": 5 * time.Microsecond, "6n": 6,
		"99999999H": 1<<63 - 1,
	} {
		if got, ok := parseTimeout(text); !ok || got != want {
			t.Errorf("parseTimeout(%q) = %v, %v; want %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "S", "1", "-1S", "+1S", "1.5S", "123456789S", "1s", "1 S"} {
		if got, ok := parseTimeout(text); ok {
			t.Errorf("parseTimeout(%q) = %v", text, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(int64(time.Microsecond), 1<<62).Draw(t, "d"))
		text := formatTimeout(d)
		got, ok := parseTimeout(text)
		if !ok || got > d || d-got > max(time.Microsecond, d/10_000) {
			t.Fatalf("formatTimeout(%v) = %q, read as %v", d, text, got)
		}
	})
}

func TestIsGRPC(t *testing.T) {
	for text, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "application/grpc;x=y": true,
		"application/grpc-web": false, "application/json": false, "": false,
	} {
		if got := isGRPC(text); got != want {
			t.Errorf("isGRPC(%q) = %v", text, got)
		}
	}
}
