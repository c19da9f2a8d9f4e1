package h1

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// decodeAll feeds a body in pieces of n bytes and returns its content and how much of raw it took.
func decodeAll(b *Body, raw []byte, n int) (content []byte, used int, err error) {
	have := 0
	for !b.Done() {
		data, k, err := b.Decode(raw[used:have])
		if err != nil {
			return content, used, err
		}
		content = append(content, data...)
		used += k
		if k == 0 {
			if have == len(raw) {
				return content, used, b.End()
			}
			have = min(have+n, len(raw))
		}
	}
	return content, used, nil
}

func TestChunkedTraps(t *testing.T) {
	tests := []struct {
		name, raw, content string
		rest               int
		bad                bool
	}{
		{name: "two chunks", raw: "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", content: "abcde"},
		{name: "capital digits", raw: "A\r\n0123456789\r\n0\r\n\r\n", content: "0123456789"},
		{name: "extension", raw: "3;a=b\r\nabc\r\n0;x\r\n\r\n", content: "abc"},
		{name: "next request follows", raw: "1\r\na\r\n0\r\n\r\nGET ", content: "a", rest: 4},
		{name: "trailer", raw: "1\r\na\r\n0\r\nx: y\r\n\r\n", content: "a"},
		{name: "extension with bare LF", raw: "3;a\nabc\r\n0\r\n\r\n", bad: true},
		{name: "extension with CR", raw: "3;a\rb\r\nabc\r\n0\r\n\r\n", bad: true},
		{name: "size with bare LF", raw: "3\nabc\r\n0\r\n\r\n", bad: true},
		{name: "overflow", raw: "FFFFFFFFFFFFFFFFF\r\nabc", bad: true},
		{name: "sixteen digits", raw: "8000000000000003\r\nabc\r\n0\r\n\r\n", bad: true},
		{name: "no size", raw: "\r\nabc\r\n", bad: true},
		{name: "only an extension", raw: ";x\r\nabc\r\n", bad: true},
		{name: "sign", raw: "+3\r\nabc\r\n0\r\n\r\n", bad: true},
		{name: "prefix", raw: "0x3\r\nabc\r\n0\r\n\r\n", bad: true},
		{name: "space before size", raw: " 3\r\nabc\r\n0\r\n\r\n", bad: true},
		{name: "space after size", raw: "3 \r\nabc\r\n0\r\n\r\n", bad: true},
		{name: "data longer than size", raw: "3\r\nabcd\r\n0\r\n\r\n", bad: true},
		{name: "data end with bare LF", raw: "3\r\nabc\n0\r\n\r\n", bad: true},
		{name: "endless extension", raw: "3;" + strings.Repeat("x", maxChunkLine), bad: true},
		{name: "junk after the last chunk", raw: "0\r\nx", bad: true},
		{name: "a request where the end should be", raw: "0\r\nGET / HTTP/1.1\r\n\r\n", bad: true},
		{name: "trailer with bare LF", raw: "0\r\nx: y\n\r\n", bad: true},
		{name: "endless trailer", raw: "0\r\nx: " + strings.Repeat("y", maxTrailer+1), bad: true},
		{name: "longest trailer", raw: "0\r\nx: " + strings.Repeat("y", maxTrailer-7) + "\r\n\r\n"},
		{name: "trailer that is one byte too long", raw: "0\r\nx: " + strings.Repeat("y", maxTrailer-6) + "\r\n\r\n", bad: true},
		{name: "folded trailer", raw: "0\r\nx: y\r\n z\r\n\r\n", bad: true},
		{name: "cut short", raw: "3\r\nab", content: "ab", bad: true},
		{name: "cut before the end", raw: "3\r\nabc\r\n", content: "abc", bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, n := range []int{1, 2, 3, 1 << 20} {
				var b Body
				b.Reset(Chunked, -1)
				content, used, err := decodeAll(&b, []byte(tt.raw), n)
				if (err != nil) != tt.bad {
					t.Fatalf("by %d: error %v", n, err)
				}
				if !tt.bad && (string(content) != tt.content || used != len(tt.raw)-tt.rest) {
					t.Errorf("by %d: content %q, %d bytes used", n, content, used)
				}
			}
		})
	}
}

func TestTrailersArePassedOnIfHarmless(t *testing.T) {
	var b Body
	b.Reset(Chunked, -1)
	raw := "0\r\nX-Sum: 1\r\nContent-Length: 5\r\nAuthorization: x\r\nHost: y\r\nweft-source: z\r\nTransfer-Encoding: chunked\r\nX-More: 2\r\n\r\n"
	if _, _, err := decodeAll(&b, []byte(raw), len(raw)); err != nil {
		t.Fatal(err)
	}
	if got, want := string(b.AppendEnd(nil)), "0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"; got != want {
		t.Errorf("want %q, got %q", want, got)
	}
}

func TestSizedAndCloseDelimited(t *testing.T) {
	var b Body
	b.Reset(Sized, 3)
	if content, used, err := decodeAll(&b, []byte("abcdef"), 2); string(content) != "abc" || used != 3 || err != nil {
		t.Errorf("sized: %q, %d, %v", content, used, err)
	}
	b.Reset(Sized, 3)
	if _, _, err := decodeAll(&b, []byte("ab"), 2); err == nil {
		t.Error("sized: cut short is no error")
	}
	b.Reset(UntilClose, -1)
	if content, _, err := decodeAll(&b, []byte("abcdef"), 4); string(content) != "abcdef" || err != nil {
		t.Errorf("close-delimited: %q, %v", content, err)
	}
}

// FuzzChunked checks that pieces do not matter and that what is framed anew decodes to the same.
func FuzzChunked(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\n\r\n"), 1)
	f.Add([]byte("3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\nrest"), 4)
	f.Add([]byte("0\r\n\n"), 2)
	f.Fuzz(func(t *testing.T, raw []byte, n int) {
		if n < 1 || n > len(raw) {
			n = 1
		}
		var whole, dribbled Body
		whole.Reset(Chunked, -1)
		dribbled.Reset(Chunked, -1)
		want, used, werr := decodeAll(&whole, raw, len(raw)+1)
		got, took, derr := decodeAll(&dribbled, raw, n)
		if (werr == nil) != (derr == nil) {
			t.Fatalf("whole: %v; by %d: %v", werr, n, derr)
		}
		if werr != nil {
			return
		}
		if !bytes.Equal(want, got) || used != took {
			t.Fatalf("whole: %q, %d; by %d: %q, %d", want, used, n, got, took)
		}
		framed := whole.AppendEnd(AppendChunk(nil, want))
		var again Body
		again.Reset(Chunked, -1)
		if content, used, err := decodeAll(&again, framed, len(framed)); err != nil || used != len(framed) || !bytes.Equal(content, want) {
			t.Fatalf("framed %q: %q, %v", framed, content, err)
		}
	})
}

func TestBodyErrorsAreNamed(t *testing.T) {
	var b Body
	b.Reset(Chunked, -1)
	if _, _, err := b.Decode([]byte("zz\r\n")); !errors.Is(err, ErrChunk) {
		t.Errorf("got %v", err)
	}
}
