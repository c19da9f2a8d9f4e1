package proxy_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/proxy"
	"github.com/weft-mesh/weft/proxy/internal/snapshot"
)

// stateFiles are the files of a state directory, by name.
type stateFiles map[string][]byte

func readState(t *testing.T, dir string) stateFiles {
	t.Helper()
	files := stateFiles{}
	for _, name := range []string{"sidecar.json", "svid.key", "svid.pem", "bundle.pem", "snapshot.pb", "ports.json"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = raw
	}
	return files
}

// write makes a state directory.
func (f stateFiles) write(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	err := os.Mkdir(dir, 0o700)
	for name, raw := range f {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), raw, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// with is a copy with some files of another directory.
func (f stateFiles) with(other stateFiles, names ...string) stateFiles {
	next := stateFiles{}
	for name, raw := range f {
		next[name] = raw
	}
	for _, name := range names {
		next[name] = other[name]
	}
	return next
}

func identityFiles(t *testing.T, m *spiffe.Material) stateFiles {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(m.Certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return stateFiles{
		"svid.key": text("PRIVATE KEY", key), "svid.pem": text("CERTIFICATE", m.Certificate.Certificate[0]),
		"bundle.pem": text("CERTIFICATE", m.Bundle.X509Authorities()[0].Raw),
	}
}

// aged is a snapshot file that was written some time ago.
func aged(t *testing.T, file []byte, owner snapshot.Owner, age time.Duration) []byte {
	t.Helper()
	saved, err := snapshot.Decode(owner, file, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	saved.At = time.Now().Add(-age)
	raw, err := snapshot.Encode(saved)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// flipped is a copy with one bit changed, in a third: of a key that is the secret, and not the copy of the public key behind it.
func flipped(raw []byte) []byte {
	next := append([]byte(nil), raw...)
	next[len(next)/3] ^= 1
	return next
}

// TestC16_E7_StateFilesAreUsedOrRefusedReadably is the table of what can be wrong with each file of the state directory when a
// host has come back without a control plane: what is of no use is refused by its name, with a reason and a remedy, and
// whatever does not depend on it works.
func TestC16_E7_StateFilesAreUsedOrRefusedReadably(t *testing.T) {
	r := newRig(t, http.HandlerFunc(hello))
	if _, err := r.call("/a"); err != nil {
		t.Fatal(err)
	}
	second := config(t, "shop-2")
	second.Upstreams = r.shop.cfg.Upstreams
	second.JoinToken = r.plane.Token(spiffe.Account{Namespace: "default", Name: "other"})
	r.plane.Distributor.Set("default/shop-2", r.shopResources()...)
	another := r.start(second)
	r.until("snapshots", func() error {
		for _, c := range []*car{r.shop, another} {
			if _, err := os.Stat(filepath.Join(c.cfg.StateDir, "snapshot.pb")); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range []*car{r.shop, another} {
		if err := c.stop(); err != nil {
			t.Fatal(err)
		}
	}
	r.plane.Stop()
	cfg := r.shop.cfg
	good, others := readState(t, r.shop.cfg.StateDir), readState(t, another.cfg.StateDir)
	owner := snapshot.Owner{TrustDomain: r.plane.CA.TrustDomain(), Namespace: "default", Workload: "shop-1"}
	shop := spiffe.Account{Namespace: "default", Name: "shop"}
	foreignCA := testca.New(t, "other.local")
	foreign := identityFiles(t, foreignCA.SVID(t, shop))
	expired := identityFiles(t, r.plane.CA.SVID(t, shop, testca.Expired()))
	foreignOwner := owner
	foreignOwner.TrustDomain = foreignCA.TrustDomain()
	state, err := snapshot.Encode(snapshot.Saved{State: snapshot.New(foreignOwner), At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	foreign["snapshot.pb"] = state
	foreign["sidecar.json"] = []byte(strings.ReplaceAll(string(good["sidecar.json"]), `"weft.local"`, `"other.local"`))

	cut := func(name string) stateFiles { return good.with(stateFiles{name: good[name][:len(good[name])/2]}, name) }
	flip := func(name string) stateFiles { return good.with(stateFiles{name: flipped(good[name])}, name) }
	without := func(name string) stateFiles {
		next := good.with(nil)
		delete(next, name)
		return next
	}
	const (
		serves  = "serves"  // requests flow
		waits   = "waits"   // it runs; requests fail readably until there is a control plane
		refuses = "refuses" // it does not start
	)
	const token = "weft token join"
	tests := []struct {
		name    string
		files   stateFiles
		mode    map[string]os.FileMode
		outcome string
		says    []string // in the error, or in the log
	}{
		{"all good", good, nil, serves, nil},

		{"sidecar.json truncated", cut("sidecar.json"), nil, refuses, []string{"sidecar.json", "damaged", token}},
		{"sidecar.json with a flipped bit", flip("sidecar.json"), nil, refuses, []string{"sidecar.json", "damaged", token}},
		{"sidecar.json of another workload", good.with(others, "sidecar.json"), nil, refuses, []string{"sidecar.json is of default/shop-2", "this sidecar is default/shop-1", "--state-dir"}},
		{"sidecar.json of another trust domain", good.with(foreign, "sidecar.json"), nil, refuses, []string{"sidecar.json", "checksum", token}},
		{"sidecar.json writable by others", good, map[string]os.FileMode{"sidecar.json": 0o622}, refuses, []string{"sidecar.json", "mode is 0622", token}},
		{"sidecar.json missing", without("sidecar.json"), nil, refuses, []string{"nothing is stored", token}},

		{"svid.key truncated", cut("svid.key"), nil, refuses, []string{"svid.key", "damaged", token}},
		{"svid.key with a flipped bit", flip("svid.key"), nil, refuses, []string{"svid.key", "damaged", token}},
		{"svid.key of another workload", good.with(others, "svid.key"), nil, refuses, []string{"svid.key is missing or not the key of svid.pem", token}},
		{"svid.key of another trust domain", good.with(foreign, "svid.key"), nil, refuses, []string{"svid.key is missing or not the key of svid.pem", token}},
		{"svid.key readable by others", good, map[string]os.FileMode{"svid.key": 0o640}, refuses, []string{"svid.key", "mode is 0640", "a key that others may know", token}},
		{"svid.key missing", without("svid.key"), nil, refuses, []string{"svid.key is missing", token}},

		{"svid.pem truncated", cut("svid.pem"), nil, refuses, []string{"svid.pem holds no certificate", token}},
		{"svid.pem with a flipped bit", flip("svid.pem"), nil, refuses, []string{"svid.pem", "damaged", token}},
		{"svid.pem of another workload", good.with(others, "svid.pem"), nil, refuses, []string{"svid.key is missing or not the key of svid.pem", token}},
		{"svid.pem and key of another workload", good.with(others, "svid.pem", "svid.key"), nil, refuses, []string{"svid.pem is \"spiffe://weft.local/ns/default/sa/other\"", "sidecar.json is of", "--state-dir"}},
		{"svid.pem and key of another trust domain", good.with(foreign, "svid.pem", "svid.key"), nil, refuses, []string{"svid.pem", "spiffe://other.local/ns/default/sa/shop", "\"weft.local\"", "--state-dir"}},
		{"svid.pem expired", good.with(expired, "svid.pem", "svid.key"), nil, refuses, []string{"svid.pem", "has expired", "valid until", "renews no SVID that has run out", token}},
		{"svid.pem writable by others", good, map[string]os.FileMode{"svid.pem": 0o666}, refuses, []string{"svid.pem", "mode is 0666", token}},
		{"svid.pem missing", without("svid.pem"), nil, refuses, []string{"svid.pem is missing", token}},

		{"bundle.pem truncated", cut("bundle.pem"), nil, refuses, []string{"bundle.pem holds no certificate", token}},
		{"bundle.pem with a flipped bit", flip("bundle.pem"), nil, refuses, []string{"bundle.pem", "damaged", token}},
		{"bundle.pem of another workload", good.with(others, "bundle.pem"), nil, serves, nil}, // the same for all of a trust domain
		{"bundle.pem of another trust domain", good.with(foreign, "bundle.pem"), nil, refuses, []string{"bundle.pem", "does not fit the trust bundle", token}},
		{"bundle.pem writable by others", good, map[string]os.FileMode{"bundle.pem": 0o664}, refuses, []string{"bundle.pem", "mode is 0664", token}},
		{"bundle.pem missing", without("bundle.pem"), nil, refuses, []string{"bundle.pem is missing", token}},

		{"snapshot.pb truncated", cut("snapshot.pb"), nil, waits, []string{"snapshot.pb", "checksum differs", "until the distributor is reached"}},
		{"snapshot.pb with a flipped bit", flip("snapshot.pb"), nil, waits, []string{"snapshot.pb", "checksum differs", "until the distributor is reached"}},
		{"snapshot.pb of another workload", good.with(others, "snapshot.pb"), nil, waits, []string{"snapshot.pb", "another workload: default/shop-2", "until the distributor is reached"}},
		{"snapshot.pb of another trust domain", good.with(foreign, "snapshot.pb"), nil, waits, []string{"snapshot.pb", "trust domain \"other.local\"", "until the distributor is reached"}},
		{"snapshot.pb too old", good.with(stateFiles{"snapshot.pb": aged(t, good["snapshot.pb"], owner, 49*time.Hour)}, "snapshot.pb"), nil, waits, []string{"snapshot.pb", "too old", "49h", "until the distributor is reached"}},
		{"snapshot.pb writable by others", good, map[string]os.FileMode{"snapshot.pb": 0o602}, waits, []string{"snapshot.pb", "mode is 0602", "until the distributor is reached"}},
		{"snapshot.pb missing", without("snapshot.pb"), nil, waits, nil},

		{"ports.json truncated", cut("ports.json"), nil, serves, []string{"ports.json", "unexpected end", "other ports are used"}},
		{"ports.json with a flipped bit", flip("ports.json"), nil, serves, nil}, // another port, or none: either way it listens
		{"ports.json of another workload", good.with(others, "ports.json"), nil, serves, nil},
		{"ports.json writable by others", good, map[string]os.FileMode{"ports.json": 0o666}, serves, []string{"ports.json", "mode is 0666", "other ports are used"}},
		{"ports.json missing", without("ports.json"), nil, serves, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			next := cfg
			next.JoinToken, next.StateDir = "", tt.files.write(t)
			for name, mode := range tt.mode {
				if err := os.Chmod(filepath.Join(next.StateDir, name), mode); err != nil {
					t.Fatal(err)
				}
			}
			said := r.comesBack(next, tt.outcome, t)
			for _, want := range tt.says {
				if !strings.Contains(said, want) {
					t.Errorf("%q is missing in %s", want, said)
				}
			}
			if strings.Contains(said, "PRIVATE") {
				t.Errorf("a key is told: %s", said)
			}
		})
	}
}

// comesBack starts a sidecar of the shop without a control plane, wants an outcome of it, and returns what it said.
func (r *rig) comesBack(cfg proxy.Config, outcome string, t *testing.T) string {
	t.Helper()
	core, logs := observer.New(zap.WarnLevel)
	p, err := proxy.New(cfg, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	c := &car{t: t, cfg: cfg}
	answer := func() error {
		raw, err := os.ReadFile(filepath.Join(cfg.StateDir, "ports.json"))
		if err == nil {
			err = json.Unmarshal(raw, &c.ports)
		}
		if err != nil {
			return err
		}
		if outcome == "waits" {
			if _, err = c.admin("/startupz"); err != nil && strings.Contains(err.Error(), "no configuration yet") {
				return nil
			}
			return errors.Join(errors.New("it has a configuration, or is not there"), err)
		}
		body, err := get("http://" + c.ports.Upstreams["default/reviews:80"] + "/a")
		if err == nil && body != helloShop {
			err = fmt.Errorf("got %q", body)
		}
		return err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for err := answer(); err != nil; err = answer() {
		select {
		case <-tick.C:
		case err := <-done:
			if outcome == "refuses" && err != nil {
				return err.Error()
			}
			t.Fatalf("it ended: %v", err)
		case <-limit.C:
			t.Fatalf("no answer: %v", err)
		}
	}
	if outcome == "refuses" {
		t.Error("it started")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("its end: %v", err)
	}
	var said strings.Builder
	for _, entry := range logs.All() {
		fmt.Fprintln(&said, entry.Message, entry.ContextMap())
	}
	return said.String()
}
