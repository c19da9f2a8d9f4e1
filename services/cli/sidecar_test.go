package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/internal/control"
)

// answering is a sidecar that answers one request to upgrade, and passes it on.
func answering(t *testing.T, dir, problem string) <-chan control.Message {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := control.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan control.Message, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		m, _, _ := conn.Receive(t.Context())
		asked <- m
		_ = conn.Send(control.Message{Kind: control.Upgraded, PID: 7, Version: "v2", Error: problem})
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return asked
}

func TestUpgradeOfSidecars(t *testing.T) {
	data := t.TempDir()
	dir := func(name string) string { return filepath.Join(data, "sidecars", name) }
	if err := os.MkdirAll(dir("default.gone-1"), 0o700); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := Main(t.Context(), append([]string{"sidecar", "upgrade", "--data-dir", data}, args...), Streams{Out: &out, Err: &out})
		return code, out.String()
	}
	for _, tc := range []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"nobody", nil, exitNotFound, []string{"no sidecar runs"}},
		{"one that is named and does not run", []string{"gone-1"}, exitError, []string{"default.gone-1: not upgraded", "no sidecar runs with this state directory"}},
		{"one that is not known", []string{"other/x"}, exitError, []string{"other.x: not upgraded", "no sidecar runs with this state directory"}},
		{"two with one directory", []string{"a", "b", "--state-dir", data}, exitUsage, []string{"one workload"}},
	} {
		if code, out := run(tc.args...); code != tc.code || !containsAll(out, tc.says) {
			t.Errorf("%s: code %d, %s", tc.name, code, out)
		}
	}
	answering(t, dir("default.a-1"), "")
	answering(t, dir("default.b-1"), "it does not like it")
	if code, out := run(); code != exitError || !containsAll(out, []string{"default.a-1: upgraded to process 7, version v2", "default.b-1: not upgraded: it does not like it"}) {
		t.Errorf("all: code %d, %s", code, out)
	}
	asked := answering(t, dir("shop.a-1"), "")
	if code, out := run("shop/a-1", "--binary", "x"); code != exitOK {
		t.Fatalf("one: code %d, %s", code, out)
	}
	if m := <-asked; m.Kind != control.Upgrade || !filepath.IsAbs(m.Binary) {
		t.Errorf("one: asked for %+v", m)
	}
}

func containsAll(text string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}
