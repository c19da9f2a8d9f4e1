package match

import "bytes"

// CleanPath makes the path that rules are matched against from a request target: without query and fragment, with percent
// encodings in one form (unreserved characters bare, the others in upper case), repeated slashes merged and dot segments
// resolved. ok is false for what two readers could take for two different paths: a broken or control-character encoding, a
// path that climbs above its root, or dot segments that only appear once an encoded slash, a backslash or a parameter is
// read as the end of a segment. Such a request must be refused, not matched.
//
// A target that is clean already is returned as a view of itself; otherwise the path is appended to dst[:0].
func CleanPath(dst, target []byte) (path []byte, ok bool) {
	if i := bytes.IndexAny(target, "?#"); i >= 0 {
		target = target[:i]
	}
	if len(target) == 1 && target[0] == '*' {
		return target, true
	}
	if len(target) == 0 || target[0] != '/' {
		return nil, false
	}
	if isClean(target) {
		return target, true
	}
	return clean(dst[:0], target)
}

// isClean is quick and may say no too often.
func isClean(target []byte) bool {
	previous := byte(0)
	for _, c := range target {
		if c <= ' ' || c == 0x7f || c == '%' || c == '\\' || c == ';' || previous == '/' && (c == '/' || c == '.') {
			return false
		}
		previous = c
	}
	return true
}

func clean(out, target []byte) ([]byte, bool) {
	for len(target) > 0 {
		segment := target[1:] // target begins with a slash
		end := bytes.IndexByte(segment, '/')
		last := end < 0
		if last {
			end = len(segment)
		}
		target = segment[end:]

		start := len(out)
		var ok bool
		if out, ok = appendSegment(append(out, '/'), segment[:end]); !ok {
			return nil, false
		}
		switch name := out[start+1:]; {
		case string(name) == "..":
			if start == 0 {
				return nil, false
			}
			out = out[:bytes.LastIndexByte(out[:start], '/')]
		case string(name) == ".", len(name) == 0:
			out = out[:start]
		case hidesDots(name):
			return nil, false
		default:
			continue
		}
		if last {
			out = append(out, '/')
		}
	}
	return out, true
}

// appendSegment decodes what may be decoded without changing the meaning.
func appendSegment(out, segment []byte) ([]byte, bool) {
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		if c != '%' {
			if c <= ' ' || c == 0x7f {
				return nil, false
			}
			out = append(out, c)
			continue
		}
		if i+2 >= len(segment) {
			return nil, false
		}
		hi, ok1 := unhex(segment[i+1])
		lo, ok2 := unhex(segment[i+2])
		c = hi<<4 | lo
		if !ok1 || !ok2 || c < ' ' || c == 0x7f {
			return nil, false
		}
		if unreserved(c) {
			out = append(out, c)
		} else {
			out = append(out, '%', upperHex(hi), upperHex(lo))
		}
		i += 2
	}
	return out, true
}

// hidesDots says whether a segment holds a dot segment for readers who split it further.
func hidesDots(segment []byte) bool {
	piece := 0 // length of the current piece when it is dots only, else -1
	for i := 0; i < len(segment); i++ {
		switch c := segment[i]; {
		case c == '\\' || c == ';':
			if piece == 1 || piece == 2 {
				return true
			}
			piece = 0
		case c == '%' && (string(segment[i:i+3]) == "%2F" || string(segment[i:i+3]) == "%5C"):
			if piece == 1 || piece == 2 {
				return true
			}
			piece = 0
			i += 2
		case c == '.' && piece >= 0:
			piece++
		default:
			piece = -1
		}
	}
	return piece == 1 || piece == 2
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	default:
		return 0, false
	}
}

func upperHex(nibble byte) byte { return "0123456789ABCDEF"[nibble] }
