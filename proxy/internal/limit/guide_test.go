package limit_test

import (
	"os"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/limit"
)

// TestTheGuideListsEveryLimit: one row for each, with its setting.
func TestTheGuideListsEveryLimit(t *testing.T) {
	guide, err := os.ReadFile("../../../docs/guides/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range limit.Names() {
		setting := "| fixed |"
		if n.Setting() != "" {
			setting = "| `" + strings.TrimPrefix(n.Setting(), "limit-") + "` |"
		}
		rows := 0
		for row := range strings.Lines(string(guide)) {
			if strings.HasPrefix(row, "| `"+n.String()+"`") && strings.Contains(row, setting) {
				rows++
			}
		}
		if rows != 1 {
			t.Errorf("%v has %d rows with %q", n, rows, setting)
		}
	}
}
