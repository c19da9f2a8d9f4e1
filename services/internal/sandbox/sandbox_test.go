package sandbox

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNumbersOfANetwork(t *testing.T) {
	for _, tt := range []struct {
		network string
		n       uint32
		want    string
	}{
		{"100.127.0.0/16", 1, "100.127.0.1"},
		{"100.127.0.0/16", 0xa7e8, "100.127.167.232"},
		{"10.9.8.7/24", 254, "10.9.8.254"},
		{"fd77:6566:7400::/64", 0xa7e8, "fd77:6566:7400::a7e8"},
	} {
		if got := nth(netip.MustParsePrefix(tt.network), tt.n); got.String() != tt.want {
			t.Errorf("%s number %d: want %s, got %s", tt.network, tt.n, tt.want, got)
		}
	}
}

func TestNoteTellsWhetherItsMakerLives(t *testing.T) {
	cfg := Default(t.TempDir())
	if err := os.MkdirAll(filepath.Join(cfg.RunDir, notesDir), 0o700); err != nil {
		t.Fatal(err)
	}
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	made, err := newNote(cfg, "shop/web", []string{"/nowhere"})
	if err != nil {
		t.Fatal(err)
	}
	if early, err := notes(cfg); err != nil || len(early) != 1 || early[0].Namespace != 0 || !early[0].alive() {
		t.Fatalf("before anything is made: %+v, %v", early, err)
	}
	if err := made.add("weft-7", ns); err != nil {
		t.Fatal(err)
	}
	all, err := notes(cfg)
	if err != nil || len(all) != 1 {
		t.Fatalf("got %v, %v", all, err)
	}
	n := all[0]
	if n.Owner != "shop/web" || n.PID != os.Getpid() || n.Namespace == 0 || n.Link != "weft-7" || len(n.Scratch) != 1 {
		t.Errorf("note %+v", n)
	}
	if !n.alive() {
		t.Error("its maker is this process")
	}
	n.Started += "0" // somebody else has the number now
	if n.alive() {
		t.Error("its maker is taken for another process")
	}
}

func TestHalfANoteIsALeftover(t *testing.T) {
	cfg := Default(t.TempDir())
	dir := filepath.Join(cfg.RunDir, notesDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "weft-7.json"), []byte(`{"owner":`), 0o600); err != nil {
		t.Fatal(err)
	}
	left, err := Leftovers(cfg)
	if err != nil || len(left) != 1 || !strings.Contains(left[0].Owner, "unknown") || len(left[0].Processes) != 0 {
		t.Errorf("got %+v, %v", left, err)
	}
}
