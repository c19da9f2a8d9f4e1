package observe

import (
	"context"
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/internal/testca"
)

// disk takes some bytes and then is full until it is emptied.
type disk struct {
	strings.Builder
	room int
}

func (d *disk) Write(p []byte) (int, error) {
	n := min(len(p), d.room)
	d.room -= n
	d.Builder.Write(p[:n])
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

// TestFaultFullDisk: what cannot be written to the access log is dropped and counted, requests do not notice, and when there is
// room again the log goes on with a whole line.
func TestFaultFullDisk(t *testing.T) {
	out := &disk{room: 1000}
	log := NewAccessLog(out, 1)
	r := recorder(t, testca.New(t, "weft.local"), 0, log)
	run := func(n int) {
		for range n {
			r.Emit(outbound("default/reviews"))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // what is queued is still written
		if err := log.Run(ctx); err != nil {
			t.Error(err)
		}
	}
	run(20)
	before := log.dropped.Load()
	if before == 0 || before == 20 {
		t.Fatalf("%d of 20 lines are dropped", before)
	}
	out.room = 1 << 20
	run(20)
	if got := log.dropped.Load(); got != before {
		t.Errorf("%d more are dropped with room", got-before)
	}
	whole, torn := 0, 0
	for _, text := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		var l line
		if json.Unmarshal([]byte(text), &l) == nil {
			whole++
		} else {
			torn++
		}
	}
	if want := 40 - int(before); whole != want || torn != 1 {
		t.Errorf("%d whole lines, want %d; %d torn", whole, want, torn)
	}
}
