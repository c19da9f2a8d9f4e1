package datagram

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// depth bounds the chunks that wait in one queue: half a megabyte when its reader is slow, a few kilobytes when it is not.
const depth = 8

// chunk is some frames, one after the other.
type chunk struct {
	buf       *wire.Buffer
	used      int
	datagrams int
}

func (c *chunk) frames() []byte { return c.buf.B[:c.used] }

func (c *chunk) payload() int64 { return int64(c.used - header*c.datagrams) }

// memory bounds what all queues of a sidecar's side hold together.
type memory struct {
	limit int64
	used  atomic.Int64
}

func (m *memory) get(n int) *wire.Buffer {
	b := wire.Get(n)
	if m.used.Add(int64(len(b.B))) > m.limit {
		m.put(b)
		return nil
	}
	return b
}

func (m *memory) put(b *wire.Buffer) {
	m.used.Add(-int64(len(b.B)))
	b.Release()
}

// queue holds frames between one goroutine that must not wait and one that sends. What comes while the latter is busy is
// gathered into chunks, which are sent whole.
type queue struct {
	memory *memory
	wake   chan struct{} // capacity 1

	mu           sync.Mutex
	ring         [depth]chunk
	first, count int
	closed       bool
}

func newQueue(m *memory) *queue { return &queue{memory: m, wake: make(chan struct{}, 1)} }

// push adds a datagram; false: there is no room, or the queue is closed.
func (q *queue) push(payload []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.room(header + len(payload))
	if c == nil {
		return false
	}
	binary.BigEndian.PutUint16(c.buf.B[c.used:], uint16(len(payload)))
	copy(c.buf.B[c.used+header:], payload)
	c.used += header + len(payload)
	c.datagrams++
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// room finds a chunk with n bytes left; the caller holds mu. A reader that is behind gets larger chunks.
func (q *queue) room(n int) *chunk {
	if q.closed {
		return nil
	}
	size := wire.Small
	if q.count > 0 {
		last := &q.ring[(q.first+q.count-1)%depth]
		if len(last.buf.B)-last.used >= n {
			return last
		}
		size = wire.Large
	}
	if q.count == depth {
		return nil
	}
	buf := q.memory.get(max(n, size))
	if buf == nil {
		return nil
	}
	c := &q.ring[(q.first+q.count)%depth]
	*c = chunk{buf: buf}
	q.count++
	return c
}

// take waits for a chunk, which the caller gives back by release; false: the queue is closed.
func (q *queue) take() (chunk, bool) {
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return chunk{}, false
		}
		if q.count > 0 {
			c := q.pop()
			q.mu.Unlock()
			return c, true
		}
		q.mu.Unlock()
		<-q.wake
	}
}

// pop takes the first chunk; the caller holds mu.
func (q *queue) pop() chunk {
	c := q.ring[q.first]
	q.ring[q.first] = chunk{}
	q.first = (q.first + 1) % depth
	q.count--
	return c
}

func (q *queue) release(c chunk) { q.memory.put(c.buf) }

// close ends take and drops what waits; it returns how many datagrams that were.
func (q *queue) close() (dropped int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for q.count > 0 {
		c := q.pop()
		dropped += int64(c.datagrams)
		q.release(c)
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return dropped
}
