package compile_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/distributor/compile/compiletest"
)

const (
	worldMark = "-- world --\n"
	stateMark = "-- state --\n"
)

// TestGolden compiles the world of each testdata/*.txtar and compares the state with what is written below it. Run with
// -update to write what comes out, and read the difference.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, rest, ok := strings.Cut(string(raw), worldMark)
			if !ok {
				t.Fatalf("%s has no %q", file, worldMark)
			}
			text, want, _ := strings.Cut(rest, stateMark)
			w := compiletest.World(t, text)
			got := compiletest.Dump(compile.Next(nil, w), w)
			if flag.Lookup("update").Value.String() == "true" {
				if err := os.WriteFile(file, []byte(head+worldMark+text+stateMark+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("state of %s (-want +got):\n%s", file, diff)
			}
		})
	}
}
