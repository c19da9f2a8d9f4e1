package h1

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// corpus reads what the fuzz targets of a folder begin with: the first value of each file.
func corpus(tb testing.TB, pattern string) (list [][]byte) {
	tb.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		tb.Fatalf("%s: no files, %v", pattern, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		_, line, _ := strings.Cut(string(text), "\n[]byte(")
		line, _, _ = strings.Cut(line, ")\n")
		value, err := strconv.Unquote(strings.TrimSuffix(line, ")"))
		if err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		list = append(list, []byte(value))
	}
	return list
}

// pieces is a stream that arrives bit by bit.
type pieces struct {
	raw      []byte
	at, have int
	next     func(have int) int // how much is there after one more read
}

func (p *pieces) more() bool {
	if p.have == len(p.raw) {
		return false
	}
	p.have = p.next(p.have)
	return true
}

func (p *pieces) buffered() []byte { return p.raw[p.at:p.have] }

// head takes one head as the engine does; nothing without an error is the end.
func (p *pieces) head(request bool) ([]byte, error) {
	from := 0
	for {
		if n := Blank(p.buffered()); request && n > 0 && from == 0 {
			p.at += n
		}
		end, resume, err := HeadEnd(p.buffered(), from)
		if err != nil {
			return nil, err
		}
		if end > 0 {
			p.at += end
			return p.raw[p.at-end : p.at], nil
		}
		if from = resume; !p.more() {
			return nil, io.EOF
		}
	}
}

func (p *pieces) body(framing Framing, length int64) (text string, err error) {
	var b Body
	var content []byte
	b.Reset(framing, length)
	for !b.Done() && err == nil {
		var data []byte
		var used int
		data, used, err = b.Decode(p.buffered())
		content = append(content, data...)
		p.at += used
		if used == 0 && err == nil && !p.more() {
			err = b.End()
			break
		}
	}
	return fmt.Sprintf("%q %q", content, b.AppendEnd(nil)), err
}

// requests reads a stream as the engine reads a client's.
func (p *pieces) requests() (out string) {
	var r Request
	for {
		raw, err := p.head(true)
		if err == nil {
			err = r.Parse(raw)
		}
		if err != nil {
			return fmt.Sprintf("%s%v after %d\n", out, err, p.at)
		}
		out += fmt.Sprintf("%q close %v continue %v ", AppendRequest(nil, &r, RequestEdit{Host: "h"}), r.Close, r.Continue)
		text, err := p.body(r.Body, r.Length)
		if out += text + "\n"; err != nil {
			return out + err.Error()
		}
	}
}

// responses reads a stream as the engine reads a program's.
func (p *pieces) responses(method string) (out string) {
	var r Response
	for {
		raw, err := p.head(false)
		if err == nil {
			err = r.Parse(raw, []byte(method))
		}
		if err != nil {
			return fmt.Sprintf("%s%v after %d\n", out, err, p.at)
		}
		out += fmt.Sprintf("%q close %v ", AppendResponse(nil, &r, ResponseEdit{Body: r.Body}), r.Close)
		text, err := p.body(r.Body, r.Length)
		if out += text + "\n"; err != nil || r.Upgraded {
			return fmt.Sprint(out, err)
		}
	}
}

// splits compares what read makes of a stream that comes whole, byte by byte, and in two parts for every place to part it.
func splits(t *testing.T, raw []byte, read func(*pieces) string) {
	t.Helper()
	whole := func(int) int { return len(raw) }
	want := read(&pieces{raw: raw, next: whole})
	if got := read(&pieces{raw: raw, next: func(have int) int { return have + 1 }}); got != want {
		t.Errorf("whole:\n%s\nbyte by byte:\n%s", want, got)
	}
	step := 1
	if len(raw) > 1000 {
		step = len(raw) / 50 // what is long is so for its length
	}
	for at := 1; at < len(raw); at += step {
		got := read(&pieces{raw: raw, next: func(have int) int {
			if have < at {
				return at
			}
			return len(raw)
		}})
		if got != want {
			t.Fatalf("whole:\n%s\nsplit after %d:\n%s", want, at, got)
		}
	}
}

// TestRequestsMeanTheSameHoweverTheyArrive: split at every byte, and dribbled; all vectors of this package's fuzz targets and of differ.
func TestRequestsMeanTheSameHoweverTheyArrive(t *testing.T) {
	for _, pattern := range []string{"testdata/fuzz/FuzzRequest/*", "../differ/testdata/fuzz/FuzzRequests/*"} {
		for _, raw := range corpus(t, pattern) {
			splits(t, raw, (*pieces).requests)
		}
	}
}

// TestResponsesMeanTheSameHoweverTheyArrive is the same for responses.
func TestResponsesMeanTheSameHoweverTheyArrive(t *testing.T) {
	for _, method := range []string{"GET", "HEAD"} {
		for _, raw := range corpus(t, "../differ/testdata/fuzz/FuzzResponses/*") {
			splits(t, raw, func(p *pieces) string { return p.responses(method) })
		}
	}
}

// TestChunksMeanTheSameHoweverTheyArrive is the same for chunked bodies.
func TestChunksMeanTheSameHoweverTheyArrive(t *testing.T) {
	for _, raw := range corpus(t, "testdata/fuzz/FuzzChunked/*") {
		splits(t, raw, func(p *pieces) string {
			text, err := p.body(Chunked, -1)
			return fmt.Sprint(text, err, p.at)
		})
	}
}

// TestAnyPiecesMeanTheSame: messages made of parts that are right, wrong or odd, in pieces of any lengths.
func TestAnyPiecesMeanTheSame(t *testing.T) {
	parts := []string{
		"GET / HTTP/1.1\r\nHost: a\r\n", "POST /b HTTP/1.1\r\nHost: a\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 103 x\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n",
		"Expect: 100-continue\r\n", "Connection: close\r\n", "X: y\r\n", "\r\n", "abc", "3\r\nabc\r\n", "0\r\n", "0;x\r\n", "1;\n", " ", "\t", "\r", "\n", "\x00", "\xff", ":", ";", "f",
	}
	rapid.Check(t, func(t *rapid.T) {
		raw := []byte(strings.Join(rapid.SliceOfN(rapid.SampledFrom(parts), 0, 12).Draw(t, "parts"), ""))
		sizes := rapid.SliceOfN(rapid.IntRange(1, 40), 1, 8).Draw(t, "sizes")
		for name, read := range map[string]func(*pieces) string{
			"requests":  (*pieces).requests,
			"responses": func(p *pieces) string { return p.responses("GET") },
		} {
			i := 0
			want := read(&pieces{raw: raw, next: func(int) int { return len(raw) }})
			got := read(&pieces{raw: raw, next: func(have int) int {
				i++
				return min(len(raw), have+sizes[i%len(sizes)])
			}})
			if got != want {
				t.Fatalf("%s %q whole:\n%s\nin pieces:\n%s", name, raw, want, got)
			}
		}
	})
}
