package h1

import "bytes"

// The limits of a head unless others are set.
const (
	maxTarget = 16 << 10
	maxFields = 256
)

// HeadEnd looks for the end of a head in buf, of which the first from bytes have been looked at in earlier calls. It returns
// the length of the head with its empty line, or 0 and where to go on once there is more. A line that ends in LF without CR
// is an error at once: the peer may wait for an answer.
func HeadEnd(buf []byte, from int) (end, resume int, err error) {
	for {
		i := bytes.IndexByte(buf[from:], '\n')
		if i < 0 {
			return 0, from, nil
		}
		i += from
		if i == 0 || buf[i-1] != '\r' {
			return 0, 0, ErrLineEnd
		}
		if i == 1 || buf[i-2] == '\n' {
			return i + 1, 0, nil
		}
		from = i + 1
	}
}

// Blank is the number of bytes of empty lines that begin buf: clients may send some before a request.
func Blank(buf []byte) int {
	n := 0
	for len(buf)-n >= 2 && buf[n] == '\r' && buf[n+1] == '\n' {
		n += 2
	}
	return n
}

// charClass tells what a byte may be part of.
type charClass uint8

const (
	tokenChar  charClass = 1 << iota // names and methods
	valueChar                        // field values
	targetChar                       // request targets
	hostChar                         // authorities
)

// classes makes the table of what each byte may be part of.
func classes() (t [256]charClass) {
	for i := range t {
		c := byte(i)
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if alnum || c < 0x80 && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0 {
			t[i] |= tokenChar
		}
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[i] |= valueChar
		}
		if c > ' ' && c != 0x7f && c != '#' {
			t[i] |= targetChar
		}
		if alnum || c < 0x80 && bytes.IndexByte([]byte("-._~!$&'()*+,;=:[]%"), c) >= 0 {
			t[i] |= hostChar
		}
	}
	return t
}

// table is a constant that the language cannot express as one.
var table = classes()

func all(s []byte, class charClass) bool {
	for _, c := range s {
		if table[c]&class == 0 {
			return false
		}
	}
	return true
}

// fold compares with a lower-case string, ignoring the case of ASCII letters.
func fold(s []byte, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range lower {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func trim(s []byte) []byte {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// nextToken cuts the first element off a comma-separated list.
func nextToken(list []byte) (token, rest []byte) {
	token, rest, _ = bytes.Cut(list, []byte{','})
	return trim(token), rest
}
