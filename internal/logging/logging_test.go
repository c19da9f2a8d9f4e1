package logging_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/logging"
)

func TestJSONKeys(t *testing.T) {
	var out bytes.Buffer
	log, err := logging.New(logging.Config{Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("not shown")
	log.Named("policy").Named("watch").Warn("watch restarted", zap.Int64(logging.KeyRevision, 7), zap.Duration("after", time.Second))
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("line %q: %v", out.String(), err)
	}
	if _, err := time.Parse(time.RFC3339Nano, got["ts"].(string)); err != nil {
		t.Errorf("ts: %v", err)
	}
	for key, want := range map[string]any{"level": "warn", "logger": "policy.watch", "msg": "watch restarted", "revision": 7.0, "after": "1s"} {
		if got[key] != want {
			t.Errorf("%s = %v, want %v", key, got[key], want)
		}
	}
}

func TestConsoleIsOneReadableLine(t *testing.T) {
	var out bytes.Buffer
	log, err := logging.New(logging.Config{Out: &out, Format: logging.Console, Level: "debug"})
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("shown", zap.String("k", "v"))
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "DEBUG  shown") {
		t.Errorf("line = %q", got)
	}
}

func TestNewNamesWhatIsAllowed(t *testing.T) {
	for _, cfg := range []logging.Config{{Level: "loud"}, {Format: "xml"}} {
		if _, err := logging.New(cfg); err == nil || !strings.Contains(err.Error(), "use ") {
			t.Errorf("New(%+v) = %v, want an error that says what is allowed", cfg, err)
		}
	}
}
