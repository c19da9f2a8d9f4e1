package datagram

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// TestQueueKeepsOrderAndBounds: whatever is pushed and taken in whatever order, what was taken in comes out in order, what was
// not is exactly what found no room, and all memory comes back.
func TestQueueKeepsOrderAndBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &memory{limit: rapid.Int64Range(0, 1<<20).Draw(t, "limit")}
		q := newQueue(m)
		var want [][]byte
		take := func() {
			c, ok := q.take()
			if !ok {
				t.Fatal("closed")
			}
			for rest := c.frames(); len(rest) > 0; {
				f, n, err := Next(rest)
				if err != nil || n == 0 || len(want) == 0 || !bytes.Equal(f.Payload, want[0]) {
					t.Fatalf("%d bytes, %v; want another datagram", n, err)
				}
				rest, want = rest[n:], want[1:]
			}
			q.release(c)
		}
		for i := range rapid.IntRange(0, 60).Draw(t, "steps") {
			if len(want) > 0 && rapid.Bool().Draw(t, "take") {
				take()
				continue
			}
			b := bytes.Repeat([]byte{byte(i)}, rapid.OneOf(rapid.IntRange(0, 2000), rapid.IntRange(0, MaxPayload)).Draw(t, "length"))
			if q.push(b) {
				want = append(want, b)
			}
			if used := m.used.Load(); used > m.limit || used < 0 {
				t.Fatalf("%d bytes are held, at most %d may be", used, m.limit)
			}
		}
		if rapid.Bool().Draw(t, "empty") {
			for len(want) > 0 {
				take()
			}
		}
		if dropped := q.close(); dropped != int64(len(want)) {
			t.Fatalf("%d datagrams dropped at the end, %d were there", dropped, len(want))
		}
		if used := m.used.Load(); used != 0 {
			t.Fatalf("%d bytes did not come back", used)
		}
		if _, ok := q.take(); ok || q.push(nil) {
			t.Fatal("a closed queue is used")
		}
	})
}
