package builtin_test

import (
	"crypto/elliptic"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/services/identity/ca"
	"github.com/weft-mesh/weft/services/identity/ca/builtin"
	"github.com/weft-mesh/weft/services/identity/ca/catest"
)

const leafTTL = 48 * time.Hour

func config(dir string) builtin.Config {
	return builtin.Config{Dir: dir, TrustDomain: spiffeid.RequireTrustDomainFromString("weft.local"), LeafTTL: leafTTL}
}

func open(t *testing.T, cfg builtin.Config) *builtin.Authority {
	t.Helper()
	a, err := builtin.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestConformance(t *testing.T) {
	catest.Run(t, func(t *testing.T, td spiffeid.TrustDomain) ca.Authority {
		cfg := config(t.TempDir())
		cfg.TrustDomain = td
		return open(t, cfg)
	})
}

func TestRootSurvivesARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	first, again := open(t, config(dir)), open(t, config(dir))
	if !first.Roots()[0].Equal(again.Roots()[0]) {
		t.Error("a restart made another root")
	}
	info, err := os.Stat(filepath.Join(dir, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode of root.key is %o, want 600", mode)
	}
	if other := open(t, config(t.TempDir())); first.Roots()[0].Equal(other.Roots()[0]) {
		t.Error("two directories have one root")
	}
}

// A crash may come between the two writes: the key is there, its certificate is not.
func TestKeyWithoutRootIsFinished(t *testing.T) {
	dir := t.TempDir()
	first := open(t, config(dir))
	remove(t, dir, "root.pem")
	again := open(t, config(dir))
	if diff := cmp.Diff(first.Roots()[0].RawSubjectPublicKeyInfo, again.Roots()[0].RawSubjectPublicKeyInfo); diff != "" {
		t.Error("the key was thrown away")
	}
}

func TestOpenRefuses(t *testing.T) {
	foreign := t.TempDir()
	open(t, config(foreign))
	tests := []struct {
		name  string
		spoil func(t *testing.T, dir string, cfg *builtin.Config)
		want  string
	}{
		{"key lost", func(t *testing.T, dir string, _ *builtin.Config) { remove(t, dir, "root.key") }, "missing"},
		{"key of another root", func(t *testing.T, dir string, _ *builtin.Config) {
			write(t, dir, "root.key", read(t, foreign, "root.key"))
		}, "not the key"},
		{"key open to others", func(t *testing.T, dir string, _ *builtin.Config) {
			if err := os.Chmod(filepath.Join(dir, "root.key"), 0o640); err != nil {
				t.Fatal(err)
			}
		}, "open to other users"},
		{"key damaged", func(t *testing.T, dir string, _ *builtin.Config) { write(t, dir, "root.key", []byte("x")) }, "root.key"},
		{"root damaged", func(t *testing.T, dir string, _ *builtin.Config) { write(t, dir, "root.pem", []byte("x")) }, "root.pem"},
		{"another trust domain", func(_ *testing.T, _ string, cfg *builtin.Config) {
			cfg.TrustDomain = spiffeid.RequireTrustDomainFromString("other.local")
		}, "trust domain"},
		{"root too short for its leaves", func(_ *testing.T, _ string, cfg *builtin.Config) { cfg.Lifetime = leafTTL }, "twice"},
		{"no lifetime of leaves", func(_ *testing.T, _ string, cfg *builtin.Config) { cfg.LeafTTL = 0 }, "needed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(t.TempDir())
			open(t, cfg)
			tt.spoil(t, cfg.Dir, &cfg)
			if _, err := builtin.Open(cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v does not say %q", err, tt.want)
			}
		})
	}
}

// TestE2_RootIsReplacedBeforeItEnds: an authority with less than two leaf lifetimes left makes a new root when it is opened.
func TestE2_RootIsReplacedBeforeItEnds(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := config(dir)
		cfg.Lifetime = 10 * leafTTL
		first := open(t, cfg)
		time.Sleep(7 * leafTTL)
		if again := open(t, cfg); !first.Roots()[0].Equal(again.Roots()[0]) {
			t.Error("the root was replaced too early")
		}
		time.Sleep(leafTTL + time.Minute)
		next := open(t, cfg)
		if first.Roots()[0].Equal(next.Roots()[0]) {
			t.Fatal("the root was not replaced")
		}
		if left := time.Until(next.NotAfter()); left < 9*leafTTL {
			t.Errorf("the new root has only %s left", left)
		}
		time.Sleep(2 * leafTTL)
		_, err := first.Sign(t.Context(), ca.Request{
			ID: spiffeid.RequireFromString("spiffe://weft.local/ns/default/sa/web"), PublicKey: catest.ECKey(t, elliptic.P256()), TTL: leafTTL,
		})
		if !errors.Is(err, ca.ErrExpired) {
			t.Errorf("an expired root signs: %v", err)
		}
	})
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}
