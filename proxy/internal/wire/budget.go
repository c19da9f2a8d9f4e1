package wire

import "sync/atomic"

// Budget bounds what a process keeps in buffers beyond the small ones, of which there is a number for each connection only. A
// nil Budget has no bound.
type Budget struct {
	max    int64
	used   atomic.Int64
	denied func()
}

// NewBudget allows max bytes; denied is called each time that there were no more.
func NewBudget(max int, denied func()) *Budget { return &Budget{max: int64(max), denied: denied} }

// Used is how many bytes are taken now.
func (g *Budget) Used() int64 { return g.used.Load() }

// Full says that nothing more may be taken.
func (g *Budget) Full() bool { return g != nil && g.used.Load() >= g.max }

// Add takes n bytes, or gives them back if n is negative, without asking: for what is bounded otherwise and must count.
func (g *Budget) Add(n int) {
	if g != nil && n != 0 {
		g.used.Add(int64(n))
	}
}

// Get is Get within the budget: a small buffer when there is no more.
func (g *Budget) Get(n int) *Buffer {
	if b := g.grow(n); b != nil {
		return b
	}
	return Get(Small)
}

// grow is Get within the budget: nil when there is no more.
func (g *Budget) grow(n int) *Buffer {
	if g == nil || n <= Small {
		return Get(n)
	}
	if g.Full() {
		g.denied()
		return nil
	}
	return g.force(n)
}

// force is Get that counts and does not ask.
func (g *Budget) force(n int) *Buffer {
	b := Get(n)
	if g != nil && len(b.B) > Small {
		g.used.Add(int64(len(b.B)))
		b.budget = g
	}
	return b
}
