package datagram

import (
	"encoding/binary"
	"fmt"
)

const (
	// MaxPayload is the longest datagram that IPv4 can carry.
	MaxPayload = 65_507
	// header is the length of a frame's length.
	header = 2
	// lastWord is the length that stands for the end.
	lastWord = 0xffff
)

// Frame is what Next found.
type Frame struct {
	// Payload of a datagram, or the name of a reason.
	Payload []byte
	// Last: the sidecar at the other end has ended the session.
	Last bool
}

// AppendFrame appends a datagram of at most MaxPayload bytes as a frame.
func AppendFrame(dst, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(payload))), payload...)
}

// AppendLast appends the last word, for a name of at most 255 bytes.
func AppendLast(dst []byte, reason string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, lastWord)
	return append(append(dst, byte(len(reason))), reason...)
}

// Next finds the frame at the beginning of b and how many bytes it takes; 0: more bytes are needed. The payload is a view into
// b. No frame takes more than header + MaxPayload bytes.
func Next(b []byte) (f Frame, n int, err error) {
	if len(b) < header {
		return Frame{}, 0, nil
	}
	begin, length := header, int(binary.BigEndian.Uint16(b))
	switch {
	case length == lastWord && len(b) == header:
		return Frame{}, 0, nil
	case length == lastWord:
		begin, length, f.Last = header+1, int(b[header]), true
	case length > MaxPayload:
		return Frame{}, 0, fmt.Errorf("a datagram of %d bytes is longer than %d", length, MaxPayload)
	}
	n = begin + length
	if len(b) < n {
		return Frame{}, 0, nil
	}
	f.Payload = b[begin:n]
	return f, n, nil
}
