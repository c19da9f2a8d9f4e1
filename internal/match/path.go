package match

import "bytes"

// CleanPath makes the one form of a request target's path that rules see and that is forwarded, so that what was judged is
// what the program gets. It drops the query, decodes escaped letters, digits and "-._~", writes other escapes in capitals,
// merges slashes and resolves "." and "..". An escaped slash stays an escaped slash.
//
// ok is false for what different programs would read differently, which no rule could judge: a path that does not start
// with "/" (but "*" is a path), a broken escape, an escaped NUL, a backslash, "..", "." or such a segment with parameters
// ("..;x") beside an escaped slash or by themselves with parameters, or ".." above the root.
//
// It returns a part of target when that is clean already and otherwise what it appended to dst.
func CleanPath(dst, target []byte) (path []byte, ok bool) {
	path = target
	if i := bytes.IndexByte(target, '?'); i >= 0 {
		path = target[:i]
	}
	if string(path) == "*" {
		return path, true
	}
	if len(path) == 0 || path[0] != '/' {
		return nil, false
	}
	if isClean(path) {
		return path, true
	}
	start := len(dst)
	dst, ok = decode(dst, path)
	if !ok {
		return nil, false
	}
	return resolve(dst[start:])
}

// isClean is the common case: nothing that the slow way would look at.
func isClean(path []byte) bool {
	for i, c := range path {
		switch c {
		case '%', '\\', ';', '#':
			return false
		case '/':
			if i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.') {
				return false
			}
		}
	}
	return true
}

// decode appends path with its escapes in one form.
func decode(dst, path []byte) ([]byte, bool) {
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '\\' || c == '#' {
			return dst, false
		}
		if c != '%' {
			dst = append(dst, c)
			continue
		}
		if i+2 >= len(path) {
			return dst, false
		}
		hi, lo := unhex(path[i+1]), unhex(path[i+2])
		if hi > 15 || lo > 15 {
			return dst, false
		}
		i += 2
		c = hi<<4 | lo
		switch {
		case c == 0 || c == '\\':
			return dst, false
		case unreserved(c):
			dst = append(dst, c)
		default:
			dst = append(dst, '%', upperHex[hi], upperHex[lo])
		}
	}
	return dst, true
}

// resolve merges slashes and resolves dot segments of path in place.
func resolve(path []byte) ([]byte, bool) {
	out := path[:1]
	for i := 1; i < len(path); {
		end := len(path)
		if n := bytes.IndexByte(path[i:], '/'); n >= 0 {
			end = i + n
		}
		segment, last := path[i:end], end == len(path)
		i = end + 1
		switch {
		case ambiguous(segment):
			return nil, false
		case len(segment) == 0 || string(segment) == ".":
		case string(segment) == "..":
			if len(out) == 1 {
				return nil, false
			}
			out = out[:bytes.LastIndexByte(out[:len(out)-1], '/')+1]
		default:
			out = append(out, segment...)
			if !last {
				out = append(out, '/')
			}
		}
	}
	return out, true
}

// ambiguous says whether some program would see a dot segment in what is not one: next to an escaped slash, or with
// parameters that it strips.
func ambiguous(segment []byte) bool {
	if bytes.IndexByte(segment, '%') < 0 && bytes.IndexByte(segment, ';') < 0 {
		return false
	}
	pieces := 0
	for {
		piece, rest, escaped := bytes.Cut(segment, []byte("%2F"))
		pieces++
		name, _, params := bytes.Cut(piece, []byte(";"))
		if !params {
			name, _, params = bytes.Cut(piece, []byte("%3B"))
		}
		dots := string(name) == "." || string(name) == ".."
		if dots && (params || escaped || pieces > 1) {
			return true
		}
		if !escaped {
			return false
		}
		segment = rest
	}
}

const upperHex = "0123456789ABCDEF"

// unhex returns the digit's value, or 255.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// unreserved are the characters that mean the same escaped or not (RFC 3986 section 2.3).
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}
