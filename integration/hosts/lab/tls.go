package lab

import (
	"encoding/binary"
	"fmt"
)

// Types of TLS records (RFC 8446, section 5.1).
const (
	changeCipherSpec = 20
	alert            = 21
	handshake        = 22
	applicationData  = 23
)

const (
	recordHeader = 5
	clientHello  = 1
	serverHello  = 2
	// supportedVersions is the extension in which a server says TLS 1.3 (RFC 8446, section 4.2.1).
	supportedVersions = 43
	tls13             = 0x0304
)

// CheckTLS13 says what in a stream is not TLS 1.3: after the hello in the clear, everything is encrypted records. A stream
// that ends inside a record is fine, one that the capture missed a part of is not.
func CheckTLS13(s Stream) error {
	if len(s.Data) == 0 {
		return nil
	}
	if !s.Begun || s.Gap {
		return fmt.Errorf("%s: the capture has not all of it", s)
	}
	for rest, n := s.Data, 0; len(rest) >= recordHeader; n++ {
		kind, version, length := rest[0], binary.BigEndian.Uint16(rest[1:]), int(binary.BigEndian.Uint16(rest[3:]))
		if version != 0x0301 && version != 0x0303 || length == 0 || length > 1<<14+256 {
			return fmt.Errorf("%s: what comes after record %d is no TLS record: % x", s, n, rest[:min(len(rest), 16)])
		}
		if len(rest) < recordHeader+length {
			return nil
		}
		body := rest[recordHeader : recordHeader+length]
		if err := checkRecord(kind, body, n); err != nil {
			return fmt.Errorf("%s: record %d: %w", s, n, err)
		}
		rest = rest[recordHeader+length:]
	}
	return nil
}

func checkRecord(kind byte, body []byte, n int) error {
	switch {
	case n == 0 && kind == handshake && body[0] == clientHello:
		return nil
	case n == 0 && kind == handshake && body[0] == serverHello:
		if v := serverVersion(body); v != tls13 {
			return fmt.Errorf("server chose TLS version %#x, not 1.3", v)
		}
		return nil
	case n == 0:
		return fmt.Errorf("a hello is due, not a record of type %d", kind)
	case kind == changeCipherSpec && len(body) == 1: // sent for the sake of middleboxes, means nothing
		return nil
	case kind == applicationData:
		return nil
	case kind == alert && len(body) == 2: // a handshake that failed before there were keys
		return nil
	}
	return fmt.Errorf("type %d in the clear after the hello", kind)
}

// serverVersion reads the version of a ServerHello; 0 when it names none.
func serverVersion(hello []byte) uint16 {
	// type, length (3), legacy version (2), random (32), session id, cipher suite (2), compression (1), extensions
	rest, ok := skip(hello, 4+2+32)
	if !ok || len(rest) == 0 {
		return 0
	}
	if rest, ok = skip(rest, 1+int(rest[0])+2+1+2); !ok {
		return 0
	}
	for len(rest) >= 4 {
		kind, length := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if len(rest) < 4+length {
			return 0
		}
		if kind == supportedVersions && length == 2 {
			return binary.BigEndian.Uint16(rest[4:])
		}
		rest = rest[4+length:]
	}
	return 0
}

func skip(b []byte, n int) ([]byte, bool) {
	if len(b) < n {
		return nil, false
	}
	return b[n:], true
}
