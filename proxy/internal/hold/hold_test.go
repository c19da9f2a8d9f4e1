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

type index map[string]bool

func (i index) Lookup(name string) (table.IndexEntry, bool) {
	return table.IndexEntry{Name: name}, i[name]
}
func (i index) ByAddress(netip.Addr) (table.IndexEntry, bool) { return table.IndexEntry{}, false }
func (i index) Each(func(table.IndexEntry) bool)              {}

func TestHold(t *testing.T) {
	svc := &table.Service{Name: "default/web"}
	empty := &table.Table{Index: index{"default/web": true}}
	full := &table.Table{Index: empty.Index, Services: map[string]*table.Service{"default/web": svc}}
	tests := []struct {
		name    string
		service string
		first   *table.Table
		svid    bool
		later   func(*table.Holder, *spiffe.Source) // after half a second
		want    flow.Reason
		after   time.Duration
	}{
		{name: "there", service: "default/web", first: full, svid: true},
		{name: "no table", service: "default/web", svid: true, want: flow.NotReady, after: 5 * time.Second},
		{name: "no SVID", service: "default/web", first: full, want: flow.NotReady, after: 5 * time.Second},
		{name: "SVID comes", service: "default/web", first: full, after: time.Second / 2,
			later: func(_ *table.Holder, s *spiffe.Source) { s.Set(&spiffe.Material{}) }},
		{name: "table comes", service: "default/web", svid: true, after: time.Second / 2,
			later: func(h *table.Holder, _ *spiffe.Source) { h.Store(full) }},
		{name: "body comes", service: "default/web", first: empty, svid: true, after: time.Second / 2,
			later: func(h *table.Holder, _ *spiffe.Source) { h.Store(full) }},
		{name: "body does not come", service: "default/web", first: empty, svid: true, want: flow.NotSubscribed, after: time.Second},
		{name: "no such service", service: "default/nobody", first: empty, svid: true, want: flow.NoRoute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tables, source := &table.Holder{}, spiffe.NewSource(nil)
				if tt.first != nil {
					tables.Store(tt.first)
				}
				if tt.svid {
					source.Set(&spiffe.Material{})
				}
				if tt.later != nil {
					time.AfterFunc(time.Second/2, func() { tt.later(tables, source) })
				}
				h := New(Config{Tables: tables, Identity: source})
				begin := time.Now()
				_, got, reason := h.Service(context.Background(), tt.service)
				if reason != tt.want || (got == svc) != (tt.want == flow.None) || time.Since(begin) != tt.after {
					t.Errorf("%v after %v; want %v after %v", reason, time.Since(begin), tt.want, tt.after)
				}
			})
		})
	}
}
