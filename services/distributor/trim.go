package distributor

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

const (
	// trimEvery is how long no stream may have opened before a burst of them counts as over.
	trimEvery = 10 * time.Second
	// trimAfter is how many streams make a burst.
	trimAfter = 100
)

// trimmer gives memory back after many streams have opened at once. Handshakes and first states need several times what a
// stream needs that rests, and without it the process would keep that until the runtime collects by itself, minutes later.
type trimmer struct {
	opened  atomic.Int64
	release func()

	seen    int64 // opened at the last look; run loop only
	trimmed int64 // opened at the last release; run loop only
}

func newTrimmer() *trimmer { return &trimmer{release: release} }

// release collects several times, because each time halves a stack that is too large: those of handshakes are.
func release() {
	runtime.GC()
	runtime.GC()
	debug.FreeOSMemory()
}

// run looks now and then until ctx ends.
func (t *trimmer) run(ctx context.Context) error {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.look()
		case <-ctx.Done():
			return nil
		}
	}
}

func (t *trimmer) look() {
	opened := t.opened.Load()
	if opened == t.seen && opened-t.trimmed >= trimAfter {
		t.trimmed = opened
		t.release()
	}
	t.seen = opened
}

// observer hears of streams for the metrics and for the trimmer.
type observer struct {
	*metrics
	trim *trimmer
}

// StreamsOpen implements fanout.Observer.
func (o observer) StreamsOpen(delta int) {
	o.metrics.StreamsOpen(delta)
	o.trim.opened.Add(int64(max(delta, 0)))
}
