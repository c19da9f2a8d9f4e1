package detect

import (
	"bytes"
	"sync/atomic"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// Verdict is what first bytes are.
type Verdict int32

// The verdicts.
const (
	More Verdict = iota // cannot tell yet
	TCP
	HTTP1
	HTTP2
)

const (
	// preface begins every HTTP/2 connection.
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	// maxLine is how long a first line may be to count as HTTP/1.
	maxLine = 16 << 10
	// maxMethod is longer than any registered method.
	maxMethod = 24
)

// Sniff judges the first bytes of a client. HTTP/1 needs its whole first line: much else begins with a word.
func Sniff(first []byte) Verdict {
	if v := Preface(first); v != HTTP1 {
		return v
	}
	end := bytes.IndexByte(first, '\n')
	line := first
	if end >= 0 {
		line = bytes.TrimSuffix(first[:end], []byte{'\r'})
	}
	method, rest, complete := bytes.Cut(line, []byte{' '})
	if len(method) == 0 && complete || len(method) > maxMethod || !upper(method) {
		return TCP
	}
	if len(rest) > 0 && rest[0] != '/' && rest[0] != '*' && !absolute(rest) && string(method) != "CONNECT" {
		return TCP
	}
	if end < 0 {
		if len(first) > maxLine {
			return TCP
		}
		return More
	}
	i := bytes.LastIndexByte(rest, ' ')
	if i > 0 && bytes.HasPrefix(rest[i+1:], []byte("HTTP/1.")) {
		return HTTP1
	}
	return TCP
}

// Preface tells the two versions apart where it is known that the client speaks HTTP.
func Preface(first []byte) Verdict {
	n := min(len(first), len(preface))
	switch {
	case string(first[:n]) != preface[:n]:
		return HTTP1
	case n < len(preface):
		return More
	}
	return HTTP2
}

func upper(method []byte) bool {
	for _, c := range method {
		if (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return true
}

// absolute says whether a target may be of absolute form, as far as it is there.
func absolute(target []byte) bool {
	n := min(len(target), len("http"))
	return bytes.EqualFold(target[:n], []byte("http")[:n])
}

// Port remembers what one undeclared port speaks. The zero value has not decided.
type Port struct {
	decided atomic.Int32
	guesses [4]atomic.Uint64
}

// Decide records a verdict and returns the one that holds: the first. HTTP/1 and HTTP/2 are one decision (HTTP1): clients of
// both may use the same port, and each connection says which it is.
func (p *Port) Decide(v Verdict) Verdict {
	p.guesses[v].Add(1)
	if v == HTTP2 {
		v = HTTP1
	}
	p.decided.CompareAndSwap(int32(More), int32(v))
	return p.Decided()
}

// Decided is the verdict that holds; More before the first.
func (p *Port) Decided() Verdict { return Verdict(p.decided.Load()) }

// Guesses is how often the verdict was reached by looking.
func (p *Port) Guesses(v Verdict) uint64 { return p.guesses[v].Load() }

// Label is the protocol that a verdict stands for in records.
func (v Verdict) Label() flow.Protocol {
	return [...]flow.Protocol{More: flow.TCP, TCP: flow.TCP, HTTP1: flow.HTTP1, HTTP2: flow.HTTP2}[v]
}

// Declared is the verdict for a declared port. Ports of HTTP serve both versions by prior knowledge, so that only the client's
// first bytes can tell: it is More, like for undeclared ones.
func Declared(p table.Protocol) Verdict {
	switch p {
	case table.TCP:
		return TCP
	case table.HTTP2, table.GRPC:
		return HTTP2
	}
	return More
}
