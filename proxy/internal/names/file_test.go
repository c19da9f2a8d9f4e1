package names_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/proxy/internal/names"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// services is an index of names and addresses.
type services map[string]string

func (s services) Lookup(string) (table.IndexEntry, bool)        { return table.IndexEntry{}, false }
func (s services) ByAddress(netip.Addr) (table.IndexEntry, bool) { return table.IndexEntry{}, false }

func (s services) Each(yield func(table.IndexEntry) bool) {
	for name, address := range s {
		e := table.IndexEntry{Name: name}
		if address != "" {
			e.VirtualAddress = netip.MustParseAddr(address)
		}
		if !yield(e) {
			return
		}
	}
}

func TestD5_NamesFollowTheServices(t *testing.T) {
	dir := t.TempDir()
	base, path := filepath.Join(dir, "base"), filepath.Join(dir, "hosts")
	if err := os.WriteFile(base, []byte("127.0.0.1 localhost"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("a longer file than the next one, which must not shine through\nat its end\n\n\n\n\n\n\n\n\n\n\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	const head = "127.0.0.1 localhost\n# services of the mesh, kept up to date by weft-proxy\n"
	steps := []struct {
		name  string
		index services
		want  string
	}{
		{"two", services{"shop/web": "198.18.0.2", "ops/db": "198.18.0.1"}, head + "198.18.0.1\tdb.ops\n198.18.0.2\tweb.shop web\n"},
		{"one goes, one without an address comes", services{"shop/web": "198.18.0.2", "shop/x": ""}, head + "198.18.0.2\tweb.shop web\n"},
		{"none", services{}, head},
	}
	synctest.Test(t, func(t *testing.T) {
		tables := &table.Holder{}
		f := names.New(names.Config{Path: path, Base: base, Namespace: "shop", Tables: tables}, zap.NewNop())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx) }()
		synctest.Wait()
		if f.Written() {
			t.Error("written before there is a table")
		}
		for _, step := range steps {
			tables.Store(&table.Table{Index: step.index})
			synctest.Wait()
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(step.want, string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step.name, diff)
			}
		}
		if !f.Written() {
			t.Error("not written")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was replaced: %v", err)
	}
}
