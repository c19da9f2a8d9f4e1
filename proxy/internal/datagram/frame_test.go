package datagram

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestFramesCarryEveryDatagram(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var sent [][]byte
		var stream []byte
		for range rapid.IntRange(0, 8).Draw(t, "count") {
			length := rapid.OneOf(rapid.IntRange(0, 64), rapid.SampledFrom([]int{1472, MaxPayload - 1, MaxPayload})).Draw(t, "length")
			b := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, length)
			sent, stream = append(sent, b), AppendFrame(stream, b)
		}
		stream = AppendLast(stream, rapid.StringN(0, 20, 200).Draw(t, "reason"))
		var have []byte // what has arrived, in pieces
		for i := 0; ; {
			f, n, err := Next(have)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case f.Last:
				if i != len(sent) || len(have) != n || len(stream) > 0 {
					t.Fatalf("the last word came after %d of %d datagrams", i, len(sent))
				}
				return
			case n > 0:
				if !bytes.Equal(f.Payload, sent[i]) {
					t.Fatalf("datagram %d has changed", i)
				}
				have = have[n:]
				i++
			default:
				piece := rapid.IntRange(1, len(stream)).Draw(t, "piece")
				have, stream = append(have, stream[:piece]...), stream[piece:]
			}
		}
	})
}

func TestLengthsThatAreNone(t *testing.T) {
	for _, b := range [][]byte{{0xff, 0xe4}, {0xff, 0xfe, 1, 2}} {
		if _, _, err := Next(b); err == nil {
			t.Errorf("% x is taken for a frame", b)
		}
	}
}

func FuzzNext(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, n, err := Next(b)
		switch {
		case n < 0 || n > len(b) || n > header+MaxPayload:
			t.Fatalf("%d bytes of %d", n, len(b))
		case err != nil && (n != 0 || frame.Payload != nil):
			t.Fatalf("an error, and %d bytes", n)
		case n == 0 && err == nil && len(b) >= header+MaxPayload:
			t.Fatal("the longest frame is not enough")
		}
		if n == 0 {
			// Whatever comes behind must not change an error, and may only complete what is incomplete.
			if _, _, again := Next(append(bytes.Clone(b), 0)); err != nil && again == nil {
				t.Fatal("more bytes mend an error")
			}
			return
		}
		whole := AppendFrame(nil, frame.Payload)
		if frame.Last {
			whole = AppendLast(nil, string(frame.Payload))
		}
		if !bytes.Equal(whole, b[:n]) {
			t.Fatalf("% x is not read as it is written", b[:n])
		}
		if _, m, _ := Next(b[:n-1]); m != 0 {
			t.Fatal("a part is taken for the whole")
		}
	})
}
