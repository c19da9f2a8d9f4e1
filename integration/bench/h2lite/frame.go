package h2lite

import "encoding/binary"

// Preface is what a client sends first.
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Types of frames, flags and settings, as RFC 9113 numbers them.
const (
	Data         = 0
	Headers      = 1
	Reset        = 3
	Settings     = 4
	Ping         = 6
	GoAway       = 7
	WindowUpdate = 8
	Continuation = 9

	Ack        = 1
	EndStream  = 1
	EndHeaders = 4
	Padded     = 8
	Priority   = 32

	headerTableSize   = 1
	maxStreams        = 3
	initialWindowSize = 4
)

const (
	head         = 9
	defaultTable = 4096
	streamWindow = 1 << 24
	connWindow   = 1 << 30
	// topUp is how many bytes are taken before the window of the connection is opened again.
	topUp = 1 << 28
)

// Frame is one frame; Payload is a view into what was read.
type Frame struct {
	Type, Flags byte
	Stream      uint32
	Payload     []byte
}

// Next takes the first frame of what was read; false when it is not complete.
func Next(data []byte) (f Frame, rest []byte, ok bool) {
	if len(data) < head {
		return f, data, false
	}
	n := int(data[0])<<16 | int(data[1])<<8 | int(data[2])
	if len(data) < head+n {
		return f, data, false
	}
	f = Frame{Type: data[3], Flags: data[4], Stream: binary.BigEndian.Uint32(data[5:]) & 0x7fffffff, Payload: data[head : head+n]}
	return f, data[head+n:], true
}

// Body is the payload of a frame of data or headers without padding and priority.
func (f Frame) Body() []byte {
	b := f.Payload
	pad := 0
	if f.Flags&Padded != 0 {
		pad, b = int(b[0]), b[1:]
	}
	if f.Type == Headers && f.Flags&Priority != 0 {
		b = b[5:]
	}
	return b[:len(b)-pad]
}

// Append adds a frame.
func Append(to []byte, kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	to = append(to, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	to = binary.BigEndian.AppendUint32(to, stream)
	return append(to, payload...)
}

// Start adds what each side says first: large windows, so that none of ours is ever waited for.
func Start(to []byte) []byte {
	var s []byte
	s = setting(s, initialWindowSize, streamWindow)
	s = setting(s, maxStreams, 1000)
	to = Append(to, Settings, 0, 0, s)
	return window(to, connWindow-65535)
}

func setting(to []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(to, id), value)
}

func window(to []byte, n uint32) []byte {
	return Append(to, WindowUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, n))
}

// Peer is what is remembered of the other side of a connection.
type Peer struct {
	// Literal: it does not keep a table of headers.
	Literal bool
	// Ready: its settings have come.
	Ready bool

	taken uint32
}

// Manage answers frames that are about the connection, and says whether it was one.
func (p *Peer) Manage(to []byte, f Frame) ([]byte, bool) {
	switch {
	case f.Type == Data:
		if p.taken += uint32(len(f.Payload)); p.taken >= topUp {
			to = window(to, p.taken)
			p.taken = 0
		}
		return to, false
	case f.Type == Settings && f.Flags&Ack == 0:
		for s := f.Payload; len(s) >= 6; s = s[6:] {
			if binary.BigEndian.Uint16(s) == headerTableSize && binary.BigEndian.Uint32(s[2:]) < defaultTable {
				p.Literal = true
			}
		}
		p.Ready = true
		return Append(to, Settings, Ack, 0, nil), true
	case f.Type == Ping && f.Flags&Ack == 0:
		return Append(to, Ping, Ack, 0, f.Payload), true
	}
	return to, f.Type != Headers && f.Type != Reset && f.Type != GoAway && f.Type != Continuation
}
