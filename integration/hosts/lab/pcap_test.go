package lab

import (
	"encoding/binary"
	"math"
	"net/netip"
	"testing"
)

// packet is an Ethernet frame of a TCP segment.
func packet(from, to netip.AddrPort, seq uint32, syn bool, data string) []byte {
	tcp := make([]byte, 20, 20+len(data))
	binary.BigEndian.PutUint16(tcp, from.Port())
	binary.BigEndian.PutUint16(tcp[2:], to.Port())
	binary.BigEndian.PutUint32(tcp[4:], seq)
	tcp[12] = 5 << 4
	if syn {
		tcp[13] = 2
	}
	tcp = append(tcp, data...)
	frame := make([]byte, 14)
	if from.Addr().Is4() {
		binary.BigEndian.PutUint16(frame[12:], 0x0800)
		ip := make([]byte, 20)
		ip[0], ip[9] = 0x45, 6
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(tcp)))
		copy(ip[12:], from.Addr().AsSlice())
		copy(ip[16:], to.Addr().AsSlice())
		return append(append(append(frame, ip...), tcp...), 0, 0, 0) // short frames are padded
	}
	binary.BigEndian.PutUint16(frame[12:], 0x86dd)
	ip := make([]byte, 40)
	ip[6] = 6
	binary.BigEndian.PutUint16(ip[4:], uint16(len(tcp)))
	copy(ip[8:], from.Addr().AsSlice())
	copy(ip[24:], to.Addr().AsSlice())
	return append(append(frame, ip...), tcp...)
}

// file is a capture of some frames.
func file(frames ...[]byte) []byte {
	out := make([]byte, 24)
	binary.LittleEndian.PutUint32(out, 0xa1b2c3d4)
	binary.LittleEndian.PutUint32(out[20:], 1)
	for _, f := range frames {
		head := make([]byte, 16)
		binary.LittleEndian.PutUint32(head[8:], uint32(len(f)))
		binary.LittleEndian.PutUint32(head[12:], uint32(len(f)))
		out = append(append(out, head...), f...)
	}
	return out
}

func TestStreams(t *testing.T) {
	a, b := netip.MustParseAddrPort("10.77.0.1:40000"), netip.MustParseAddrPort("10.77.0.2:80")
	c, d := netip.MustParseAddrPort("[fd77::1]:40000"), netip.MustParseAddrPort("[fd77::2]:80")
	const last = math.MaxUint32
	got, err := streams(file(
		packet(a, b, last-2, true, ""), packet(a, b, last-1, false, "he"), // sequence numbers that wrap around
		packet(a, b, 2, false, "o"), packet(a, b, 0, false, "ll"), packet(a, b, last-1, false, "hell"), // out of order, and again
		packet(c, d, 9, true, ""), packet(c, d, 10, false, "one"), packet(c, d, 20, false, "three"), // a part is missing
		packet(d, c, 5, false, "whole"),                                                             // begun before the capture
		packet(a, b, 500, true, ""), packet(a, b, 500, true, ""), packet(a, b, 501, false, "again"), // the same ends, another connection
		make([]byte, 60), // something else
	))
	if err != nil {
		t.Fatal(err)
	}
	want := []Stream{
		{From: a, To: b, Data: []byte("hello"), Begun: true},
		{From: a, To: b, Data: []byte("again"), Begun: true},
		{From: c, To: d, Data: []byte("one"), Begun: true, Gap: true},
		{From: d, To: c, Data: []byte("whole")},
	}
	if len(got) != len(want) {
		t.Fatalf("%d streams, want %d: %v", len(got), len(want), got)
	}
	for i := range want {
		w, g := want[i], got[i]
		if w.From != g.From || w.To != g.To || string(w.Data) != string(g.Data) || w.Begun != g.Begun || w.Gap != g.Gap {
			t.Errorf("stream %d is %v %q begun=%v gap=%v, want %v %q begun=%v gap=%v", i, g, g.Data, g.Begun, g.Gap, w, w.Data, w.Begun, w.Gap)
		}
	}
	whole := file(packet(a, b, 1, true, ""))
	for name, raw := range map[string][]byte{"empty": nil, "cut": whole[:len(whole)-1], "no capture": make([]byte, 40)} {
		if _, err := streams(raw); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzStreams: nothing that a capture holds makes it panic.
func FuzzStreams(f *testing.F) {
	a, b := netip.MustParseAddrPort("10.77.0.1:40000"), netip.MustParseAddrPort("[fd77::2]:80")
	f.Add(file(packet(a, a, 1, true, ""), packet(a, a, 2, false, "x")))
	f.Add(file(packet(b, b, 1, true, "y")))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		all, err := streams(raw)
		if err != nil {
			return
		}
		for _, s := range all {
			_ = CheckTLS13(s) // an error is an answer
		}
	})
}
