package lab

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Stream is what one side of a TCP connection has sent.
type Stream struct {
	// From and To are the two ends.
	From, To netip.AddrPort
	// Data is all of it, in order, each byte once.
	Data []byte
	// Begun says that the capture has its beginning.
	Begun bool
	// Gap says that bytes are missing in Data, which then ends before them.
	Gap bool
}

// String names the ends.
func (s Stream) String() string { return fmt.Sprintf("%s -> %s", s.From, s.To) }

// segment is one TCP packet.
type segment struct {
	from, to netip.AddrPort
	seq      uint32
	syn      bool
	data     []byte
}

// streams reads a capture file (pcap, of Ethernet) and puts the segments of each side of each connection together.
func streams(raw []byte) ([]Stream, error) {
	if len(raw) < 24 {
		return nil, errors.New("capture has no header")
	}
	order := binary.ByteOrder(binary.LittleEndian)
	switch binary.LittleEndian.Uint32(raw) {
	case 0xa1b2c3d4, 0xa1b23c4d:
	case 0xd4c3b2a1, 0x4d3cb2a1:
		order = binary.BigEndian
	default:
		return nil, errors.New("capture is no pcap file")
	}
	if link := order.Uint32(raw[20:]); link != 1 {
		return nil, fmt.Errorf("capture is of link type %d, not Ethernet", link)
	}
	type key struct{ from, to netip.AddrPort }
	all := map[key][]segment{}
	for rest := raw[24:]; len(rest) > 0; {
		if len(rest) < 16 {
			return nil, errors.New("capture is cut")
		}
		length, whole := order.Uint32(rest[8:]), order.Uint32(rest[12:])
		if length != whole || uint32(len(rest)-16) < length {
			return nil, errors.New("capture has a packet that is not whole")
		}
		if s, ok := parse(rest[16 : 16+length]); ok {
			k := key{s.from, s.to}
			all[k] = append(all[k], s)
		}
		rest = rest[16+length:]
	}
	var out []Stream
	for _, k := range slices.SortedFunc(maps.Keys(all), func(a, b key) int {
		return cmp.Or(a.from.Compare(b.from), a.to.Compare(b.to))
	}) {
		out = append(out, assemble(k.from, k.to, all[k])...)
	}
	return out, nil
}

// parse reads Ethernet, IPv4 or IPv6 without extension headers, and TCP. Anything else is not of interest.
func parse(frame []byte) (segment, bool) {
	if len(frame) < 14 {
		return segment{}, false
	}
	packet := frame[14:]
	var from, to netip.Addr
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		if len(packet) < 20 || packet[9] != 6 {
			return segment{}, false
		}
		header, length := int(packet[0]&15)*4, int(binary.BigEndian.Uint16(packet[2:]))
		if length < header || length > len(packet) {
			return segment{}, false
		}
		from, to = netip.AddrFrom4([4]byte(packet[12:16])), netip.AddrFrom4([4]byte(packet[16:20]))
		packet = packet[header:length] // without the padding of short frames
	case 0x86dd:
		if len(packet) < 40 || packet[6] != 6 {
			return segment{}, false
		}
		length := int(binary.BigEndian.Uint16(packet[4:]))
		if 40+length > len(packet) {
			return segment{}, false
		}
		from, to = netip.AddrFrom16([16]byte(packet[8:24])), netip.AddrFrom16([16]byte(packet[24:40]))
		packet = packet[40 : 40+length]
	default:
		return segment{}, false
	}
	if len(packet) < 20 || len(packet) < int(packet[12]>>4)*4 {
		return segment{}, false
	}
	return segment{
		from: netip.AddrPortFrom(from, binary.BigEndian.Uint16(packet)), to: netip.AddrPortFrom(to, binary.BigEndian.Uint16(packet[2:])),
		seq: binary.BigEndian.Uint32(packet[4:]), syn: packet[13]&2 != 0, data: packet[int(packet[12]>>4)*4:],
	}, true
}

// assemble puts segments in order. A new SYN begins another connection between the same ends.
func assemble(from, to netip.AddrPort, segments []segment) []Stream {
	var out []Stream
	var one []segment
	flush := func() {
		if len(one) > 0 {
			out = append(out, join(from, to, one))
		}
		one = nil
	}
	for _, s := range segments {
		if s.syn && len(one) > 0 && (!one[0].syn || one[0].seq != s.seq) { // not the same SYN again
			flush()
		}
		one = append(one, s)
	}
	flush()
	return out
}

func join(from, to netip.AddrPort, segments []segment) Stream {
	st := Stream{From: from, To: to, Begun: segments[0].syn}
	base := segments[0].seq
	if st.Begun {
		base++
	}
	// Sequence numbers wrap around: what counts is how far one is from the first.
	slices.SortStableFunc(segments, func(a, b segment) int { return cmp.Compare(int32(a.seq-base), int32(b.seq-base)) })
	var buf bytes.Buffer
	for _, s := range segments {
		at := int(int32(s.seq - base))
		if s.syn || len(s.data) == 0 || at+len(s.data) <= buf.Len() {
			continue // a repeated segment
		}
		if at > buf.Len() {
			st.Gap = true
			break
		}
		buf.Write(s.data[buf.Len()-at:])
	}
	st.Data = buf.Bytes()
	return st
}
