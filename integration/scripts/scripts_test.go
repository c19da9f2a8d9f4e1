package scripts

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weft-mesh/weft/integration/harness"
)

func TestScripts(t *testing.T) {
	bin := os.Getenv("WEFT_BIN")
	if bin == "" {
		t.Fatal("WEFT_BIN is not set: run `make scripts`")
	}
	ports := harness.NewPorts()
	for _, mode := range []string{"all-in-one", "split"} {
		t.Run(mode, func(t *testing.T) {
			r := &rig{bin: bin, debian: os.Getenv("WEFT_DEBIAN"), clients: os.Getenv("WEFT_CLIENTS"), split: mode == "split", ports: ports}
			testscript.Run(t, testscript.Params{
				Dir:                 "testdata",
				Setup:               r.setup,
				Cmds:                r.commands(),
				Condition:           r.condition,
				RequireExplicitExec: true,
				ContinueOnError:     false,
			})
		})
	}
}

func TestEveryScriptSaysWhatItProves(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) == 0 || data[0] != '#' {
			t.Errorf("%s does not begin with a comment that says what it proves", f)
		}
	}
}
