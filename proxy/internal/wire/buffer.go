package wire

import "sync"

// The sizes of buffers: a usual head, a TLS record, the most that is ever buffered, and what that becomes on its way out, with a
// head before it and sealed.
const (
	Small  = 4 << 10
	Medium = 16 << 10
	Large  = 64 << 10
	Out    = Large + Medium
)

// Buffer is a pooled byte slice. B always has one of the sizes.
type Buffer struct {
	B []byte

	budget *Budget // what it counts in; nil: nothing
	poison
}

// pools are the one exception to "no globals": they hold memory, never meaning, and threading them through every engine
// would buy nothing.
var pools [4]sync.Pool

func class(n int) int {
	switch {
	case n <= Small:
		return 0
	case n <= Medium:
		return 1
	case n <= Large:
		return 2
	default:
		return 3
	}
}

// Get returns a buffer of at least n bytes, at most Out. Its content is arbitrary.
func Get(n int) *Buffer {
	i := class(n)
	if b, ok := pools[i].Get().(*Buffer); ok {
		b.poison.got()
		return b
	}
	return &Buffer{B: make([]byte, [...]int{Small, Medium, Large, Out}[i])}
}

// Release gives the buffer back; neither it nor any view into it may be used afterwards. A nil buffer is fine.
func (b *Buffer) Release() {
	if b == nil {
		return
	}
	b.poison.gone(b.B)
	if b.budget != nil {
		b.budget.Add(-len(b.B))
		b.budget = nil
	}
	pools[class(len(b.B))].Put(b)
}
