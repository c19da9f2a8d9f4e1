package differ

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// message is a request as it went over the wire.
type message struct {
	method, target, host string
	fields               map[string]bool // names, in lower case
	body                 []byte
	whole                bool // its end has come
}

// forwarded reads what a sidecar has sent on one connection. It knows one spelling only of everything that tells where a message
// ends: a sidecar that sends another one leaves the choice to its reader, which is an error whatever the reader chooses.
func forwarded(b []byte) (list []message, err error) {
	for len(b) > 0 {
		m, rest, err := readMessage(b)
		if err != nil {
			return list, fmt.Errorf("request %d: %w", len(list), err)
		}
		list = append(list, m)
		if !m.whole {
			return list, nil
		}
		b = rest
	}
	return list, nil
}

func readMessage(b []byte) (m message, rest []byte, err error) {
	head, rest, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	first := strings.Split(lines[0], " ")
	if !ok || len(first) != 3 {
		if !ok {
			return m, nil, nil
		}
		return m, nil, fmt.Errorf("first line %q", lines[0])
	}
	m = message{method: first[0], target: first[1], fields: map[string]bool{}}
	if first[2] != "HTTP/1.1" || !clean(lines[0]) || !token(m.method) || m.target == "" {
		return m, nil, fmt.Errorf("first line %q", lines[0])
	}
	length, chunked := "", false
	for _, line := range lines[1:] {
		name, value, colon := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		lower := strings.ToLower(name)
		switch {
		case !colon || !token(name) || !clean(strings.ReplaceAll(value, "\t", " ")):
			return m, nil, fmt.Errorf("field %q", line)
		case m.fields[lower] && (lower == "host" || lower == "content-length" || lower == "transfer-encoding"):
			return m, nil, fmt.Errorf("%s twice", lower)
		case lower == "host":
			m.host = value
		case lower == "content-length":
			length = value
		case lower == "transfer-encoding":
			chunked = true
			if value != "chunked" {
				return m, nil, fmt.Errorf("field %q", line)
			}
		}
		m.fields[lower] = true
	}
	switch {
	case chunked && length != "", !m.fields["host"]:
		return m, nil, fmt.Errorf("head %q", head)
	case chunked:
		return m.chunks(rest)
	case length == "":
		m.whole = true
		return m, rest, nil
	}
	n, err := strconv.Atoi(length)
	if err != nil || strconv.Itoa(n) != length {
		return m, nil, fmt.Errorf("length %q", length)
	}
	m.body, m.whole = rest[:min(n, len(rest))], len(rest) >= n
	return m, rest[len(m.body):], nil
}

// chunks reads a body of chunks: sizes in lower-case digits without extensions, then fields.
func (m message) chunks(b []byte) (message, []byte, error) {
	for {
		line, rest, ok := bytes.Cut(b, []byte("\r\n"))
		if !ok {
			return m, nil, nil
		}
		n, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil || strconv.FormatUint(n, 16) != string(line) {
			return m, nil, fmt.Errorf("chunk size %q", line)
		}
		if b = rest; n == 0 {
			break
		}
		m.body = append(m.body, b[:min(int(n), len(b))]...)
		if len(b) < int(n)+2 {
			return m, nil, nil
		}
		if string(b[n:n+2]) != "\r\n" {
			return m, nil, fmt.Errorf("end of a chunk %q", b[n:n+2])
		}
		b = b[n+2:]
	}
	for {
		line, rest, ok := bytes.Cut(b, []byte("\r\n"))
		if !ok {
			return m, nil, nil
		}
		if b = rest; len(line) == 0 {
			m.whole = true
			return m, b, nil
		}
		name, value, colon := strings.Cut(string(line), ":")
		if !colon || !token(name) || !clean(strings.ReplaceAll(value, "\t", " ")) {
			return m, nil, fmt.Errorf("trailer %q", line)
		}
	}
}

func token(s string) bool {
	return s != "" && strings.Trim(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// clean says that there is no control character.
func clean(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

// TestTheReaderIsStrict: a judge that lets everything pass would make all the other tests pass.
func TestTheReaderIsStrict(t *testing.T) {
	for _, bad := range []string{
		"GET / HTTP/1.1\r\n\r\n", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\nb: c\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nx: \x00\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 01\r\n\r\nx", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0;x\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n y\r\n\r\n",
	} {
		if list, err := forwarded([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, list)
		}
	}
	list, err := forwarded([]byte("PUT /a HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n1\r\nx\r\n0\r\ny: z\r\n\r\nGET / HTTP/1.1\r\nHost: c\r\n\r\nPOST / HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\n\r\nab"))
	if err != nil || len(list) != 3 || string(list[0].body) != "0123456789x" || !list[1].whole || list[2].whole || string(list[2].body) != "ab" {
		t.Errorf("got %+v, %v", list, err)
	}
}
