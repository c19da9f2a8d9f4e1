package limit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/limit"
)

func TestDefaultsAreValidAndComplete(t *testing.T) {
	if err := limit.Default().Validate(); err != nil {
		t.Error(err)
	}
	if got := (limit.Limits{}).WithDefaults(); got != limit.Default() {
		t.Errorf("got %+v", got)
	}
	if got := (limit.Limits{Conns: 7, HeadTime: time.Minute}).WithDefaults(); got.Conns != 7 || got.HeadTime != time.Minute {
		t.Errorf("what was set is lost: %+v", got)
	}
}

func TestEveryProblemIsReported(t *testing.T) {
	l := limit.Default()
	l.HeadBytes, l.Conns, l.HeadTime = 1<<20, -1, 0
	err := l.Validate()
	for _, setting := range []string{"limit-head-bytes: 1048576 ", "limit-conns: -1 ", "limit-head-time: 0s "} {
		if err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%q is not in %v", setting, err)
		}
	}
}

// TestEveryLimitCanBeReadAndSet: a name, and a setting with a help unless it is fixed, each once.
func TestEveryLimitCanBeReadAndSet(t *testing.T) {
	l, settable := limit.Default(), map[limit.Name]bool{}
	l.Each(func(n limit.Name, _ *int) { settable[n] = true }, func(n limit.Name, _ *time.Duration) { settable[n] = true })
	seen := map[string]bool{}
	for _, n := range limit.Names() {
		if n.String() == "" || seen[n.String()] || (n.Setting() != "") != settable[n] {
			t.Errorf("%d: name %q, setting %q, settable %v", n, n, n.Setting(), settable[n])
		}
		seen[n.String()] = true
	}
}

func TestGuardCountsAndSays(t *testing.T) {
	g := limit.New(limit.Limits{Streams: 3})
	if got := g.Refuse(limit.Streams).Error(); got != "over the limit streams of 3: see weft-proxy --limit-streams" {
		t.Errorf("got %q", got)
	}
	if got := g.Refuse(limit.ChunkLine).Error(); got != "over the limit chunk_line, which is fixed" {
		t.Errorf("got %q", got)
	}
	if g.Refused(limit.Streams) != 1 || g.Refused(limit.ChunkLine) != 1 || g.Refused(limit.Conns) != 0 {
		t.Error("not counted")
	}
}
