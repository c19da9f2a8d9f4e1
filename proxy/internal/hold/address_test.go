package hold

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

func TestAddress(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.1")
	there := &table.Address{Address: addr}
	empty, full := &table.Table{}, &table.Table{Addresses: map[netip.Addr]*table.Address{addr: there}}
	tests := []struct {
		name   string
		first  *table.Table
		answer time.Duration // when the channel is closed; 0: at once, negative: never
		full   bool          // the table has it then
		nobody bool          // nobody can be asked
		want   *table.Address
		reason flow.Reason
		after  time.Duration
	}{
		{name: "known", first: full, answer: -1, want: there},
		{name: "answered later", first: empty, answer: time.Second / 2, full: true, want: there, after: time.Second / 2},
		{name: "nobody to answer", first: empty},
		{name: "no answer", first: empty, answer: -1, after: time.Second},
		{name: "refused answer", first: empty, answer: time.Second / 2, after: time.Second / 2},
		{name: "nobody to ask", first: empty, nobody: true},
		{name: "no table", reason: flow.NotReady, after: 5 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tables, source, asked := &table.Holder{}, spiffe.NewSource(nil), 0
				source.Set(&spiffe.Material{})
				if tt.first != nil {
					tables.Store(tt.first)
				}
				cfg := Config{Tables: tables, Identity: source, WantAddress: func(a netip.Addr) <-chan struct{} {
					asked++
					done := make(chan struct{})
					if tt.answer >= 0 {
						time.AfterFunc(tt.answer, func() {
							if tt.full {
								tables.Store(full)
							}
							close(done)
						})
					}
					return done
				}}
				if tt.nobody {
					cfg.WantAddress = nil
				}
				begin := time.Now()
				_, got, reason := New(cfg).Address(context.Background(), addr)
				if got != tt.want || reason != tt.reason || time.Since(begin) != tt.after {
					t.Errorf("%v, %v after %v; want %v, %v after %v", got, reason, time.Since(begin), tt.want, tt.reason, tt.after)
				}
				if tt.first != nil && !tt.nobody && asked != 1 {
					t.Errorf("asked %d times", asked)
				}
			})
		})
	}
}
