package svid

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"go.uber.org/zap/zaptest"
	"pgregory.net/rapid"

	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/proxy/internal/controltest"
	"github.com/weft-mesh/weft/proxy/internal/statedir"
)

var shop = spiffe.Account{Namespace: "default", Name: "shop"}

func openDir(t *testing.T, path string) *statedir.Dir {
	t.Helper()
	dir, err := statedir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir
}

func config(token string) Config {
	return Config{Namespace: "default", Workload: "shop-1", TokenText: token}
}

// run runs a manager until the test ends or what it returns is called.
func run(t *testing.T, m *Manager) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	stopped := false
	stop = func() error {
		cancel()
		if stopped {
			return nil
		}
		stopped = true
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

func wait(t *testing.T, m *Manager) *spiffe.Material {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	material, err := m.Source().Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return material
}

// TestID1_TokenThenStateDirectory: a token gives an identity once; after that the state directory does, also for the process
// that is given the spent token again, and without any control plane.
func TestID1_TokenThenStateDirectory(t *testing.T) {
	plane := controltest.New(t)
	path, token := t.TempDir(), plane.Token(shop)
	dir := openDir(t, path)
	m, err := Open(config(token), dir, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, m)
	first := wait(t, m)
	if want := plane.CA.ID(t, shop); first.ID != want {
		t.Errorf("identity: want %q, got %q", want, first.ID)
	}
	if err := stop(); err != nil {
		t.Fatalf("Run: %v", err)
	}
	plane.Stop()
	for _, token := range []string{"", token} {
		m, err = Open(config(token), dir, zaptest.NewLogger(t))
		if err != nil {
			t.Fatalf("Open again: %v", err)
		}
		again := m.Source().Load()
		if again == nil || !again.Certificate.Leaf.Equal(first.Certificate.Leaf) || !again.Bundle.Equal(first.Bundle) {
			t.Errorf("restored: %v", again)
		}
		if got := m.Addresses().Distributor; len(got) != 1 || got[0] != plane.Addresses().Distributor[0] {
			t.Errorf("addresses: %v", got)
		}
	}
}

func TestANewTokenWinsOverWhatIsStored(t *testing.T) {
	plane := controltest.New(t)
	dir := openDir(t, t.TempDir())
	for _, account := range []string{"shop", "other"} {
		m, err := Open(config(plane.Token(spiffe.Account{Namespace: "default", Name: account})), dir, zaptest.NewLogger(t))
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, m)
		if got := wait(t, m).ID.Path(); got != "/ns/default/sa/"+account {
			t.Errorf("identity: want account %q, got %q", account, got)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRenewalChangesKeyAndSurvivesAnOutage(t *testing.T) {
	plane := controltest.New(t)
	plane.Identity.RenewAfter = time.Millisecond
	dir := openDir(t, t.TempDir())
	m, err := Open(config(plane.Token(shop)), dir, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	m.pause = time.Millisecond
	run(t, m)
	first := wait(t, m)
	plane.Stop()
	plane.Start()
	next := first
	for next.Certificate.Leaf.Equal(first.Certificate.Leaf) {
		changed := m.Source().Changed()
		if next = m.Source().Load(); next.Certificate.Leaf.Equal(first.Certificate.Leaf) {
			<-changed
		}
	}
	if string(first.Certificate.Leaf.RawSubjectPublicKeyInfo) == string(next.Certificate.Leaf.RawSubjectPublicKeyInfo) {
		t.Error("the renewed SVID is for the old key")
	}
}

func TestTokenOfAnotherControlPlaneIsNotTrusted(t *testing.T) {
	plane, imposter := controltest.New(t), controltest.New(t)
	token, err := jointoken.Decode(plane.Token(shop))
	if err != nil {
		t.Fatal(err)
	}
	token.Addresses = imposter.Addresses()
	text, err := jointoken.Encode(token)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Open(config(text), openDir(t, t.TempDir()), zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	config, err := jointoken.TLS(token, m.TrustDomain(), identityService)
	if err != nil {
		t.Fatal(err)
	}
	if err := probe(t, imposter.Addresses().Identity[0], config); err == nil || !strings.Contains(err.Error(), "no authority that the token names") {
		t.Errorf("imposter: want a refusal that says why, got %v", err)
	}
	if err := probe(t, plane.Addresses().Identity[0], config); err != nil {
		t.Errorf("identity service: %v", err)
	}
	if err := probe(t, plane.Addresses().Discovery[0], config); err == nil || !strings.Contains(err.Error(), "sa/discovery") {
		t.Errorf("another service in its place: want a refusal that names it, got %v", err)
	}
}

func TestOpenRefusesReadably(t *testing.T) {
	ca := testca.New(t, "weft.local")
	store := func(t *testing.T, m *spiffe.Material, change func(*Stamp)) *statedir.Dir {
		dir := openDir(t, t.TempDir())
		stamp := Stamp{TrustDomain: "weft.local", Namespace: "default", Workload: "shop-1"}
		if change != nil {
			change(&stamp)
		}
		if err := errors.Join(save(dir, m), writeStamp(dir, stamp)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	good := ca.SVID(t, shop)
	tests := []struct {
		name string
		dir  func(t *testing.T) *statedir.Dir
		want error
	}{
		{"good", func(t *testing.T) *statedir.Dir { return store(t, good, nil) }, nil},
		{"expired", func(t *testing.T) *statedir.Dir { return store(t, ca.SVID(t, shop, testca.Expired()), nil) }, ErrExpired},
		{"other namespace", func(t *testing.T) *statedir.Dir {
			return store(t, ca.SVID(t, spiffe.Account{Namespace: "ops", Name: "shop"}), nil)
		}, ErrForeign},
		{"other trust domain", func(t *testing.T) *statedir.Dir {
			return store(t, testca.New(t, "other.local").SVID(t, shop), nil)
		}, ErrForeign},
		{"other workload", func(t *testing.T) *statedir.Dir {
			return store(t, good, func(s *Stamp) { s.Workload = "shop-2" })
		}, ErrForeign},
		{"bundle of another authority", func(t *testing.T) *statedir.Dir {
			return store(t, ca.SVID(t, shop, testca.WithBundle(testca.New(t, "weft.local").Bundle())), nil)
		}, ErrCorrupt},
		{"key of another certificate", func(t *testing.T) *statedir.Dir {
			dir := store(t, good, nil)
			other := openDir(t, t.TempDir())
			if err := save(other, ca.SVID(t, shop)); err != nil {
				t.Fatal(err)
			}
			raw, err := other.Read(statedir.Key)
			if err := errors.Join(err, dir.Write(statedir.Key, raw)); err != nil {
				t.Fatal(err)
			}
			return dir
		}, ErrCorrupt},
		{"key missing", func(t *testing.T) *statedir.Dir {
			dir := store(t, good, nil)
			if err := dir.Remove(statedir.Key); err != nil {
				t.Fatal(err)
			}
			return dir
		}, ErrCorrupt},
		{"certificate missing", func(t *testing.T) *statedir.Dir {
			dir := store(t, good, nil)
			if err := dir.Remove(statedir.Certificate); err != nil {
				t.Fatal(err)
			}
			return dir
		}, ErrNothing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(config(""), tt.dir(t), zaptest.NewLogger(t))
			if !errors.Is(err, tt.want) {
				t.Errorf("want %v, got %v", tt.want, err)
			}
		})
	}
	if _, err := Open(config(""), openDir(t, t.TempDir()), zaptest.NewLogger(t)); err == nil || !strings.Contains(err.Error(), "weft token join") {
		t.Errorf("nothing stored and no token: want an error that says what to do, got %v", err)
	}
}

// TestDamagedFilesAreRefused: whatever byte is damaged, the identity that starts is the stored one or none.
func TestDamagedFilesAreRefused(t *testing.T) {
	ca := testca.New(t, "weft.local")
	good := ca.SVID(t, shop)
	dir := openDir(t, t.TempDir())
	if err := save(dir, good); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom([]string{statedir.Key, statedir.Certificate, statedir.Bundle}).Draw(rt, "file")
		raw, err := dir.Read(name)
		if err != nil {
			rt.Fatal(err)
		}
		at := rapid.IntRange(0, len(raw)-1).Draw(rt, "at")
		damaged := append([]byte{}, raw...)
		if rapid.Bool().Draw(rt, "cut") {
			damaged = damaged[:at]
		} else {
			damaged[at] ^= byte(rapid.IntRange(1, 255).Draw(rt, "bits"))
		}
		put := func(content []byte) { // without the syncs of dir.Write
			if err := os.WriteFile(dir.Path(name), content, 0o600); err != nil {
				rt.Fatal(err)
			}
		}
		put(damaged)
		defer put(raw)
		got, err := load(dir, ca.TrustDomain(), "default", time.Now())
		if err == nil && !got.Certificate.Leaf.Equal(good.Certificate.Leaf) {
			rt.Fatalf("damaged files gave another identity: %v", got.ID)
		}
	})
}

// TestCrashDuringRenewalKeepsAPairThatFits: wherever a renewal's writes stop, what is stored starts.
func TestCrashDuringRenewalKeepsAPairThatFits(t *testing.T) {
	ca := testca.New(t, "weft.local")
	old, next := ca.SVID(t, shop), ca.SVID(t, shop)
	scratch := openDir(t, t.TempDir())
	if err := save(scratch, next); err != nil {
		t.Fatal(err)
	}
	content := func(name string) []byte {
		raw, err := os.ReadFile(scratch.Path(name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	steps := []func(*statedir.Dir) error{
		func(d *statedir.Dir) error { return d.Write(statedir.NextKey, content(statedir.Key)) },
		func(d *statedir.Dir) error { return d.Write(statedir.Bundle, content(statedir.Bundle)) },
		func(d *statedir.Dir) error { return d.Write(statedir.Certificate, content(statedir.Certificate)) },
		func(d *statedir.Dir) error { return d.Rename(statedir.NextKey, statedir.Key) },
	}
	for done := range len(steps) + 1 {
		dir := openDir(t, t.TempDir())
		if err := save(dir, old); err != nil {
			t.Fatal(err)
		}
		for _, step := range steps[:done] {
			if err := step(dir); err != nil {
				t.Fatal(err)
			}
		}
		want := old
		if done > 2 {
			want = next
		}
		got, err := load(dir, ca.TrustDomain(), "default", time.Now())
		if err != nil || !got.Certificate.Leaf.Equal(want.Certificate.Leaf) {
			t.Errorf("after %d steps: %v", done, err)
		}
	}
}

func TestBundleNeverGoesBack(t *testing.T) {
	ca, other := testca.New(t, "weft.local"), testca.New(t, "weft.local")
	dir := openDir(t, t.TempDir())
	m := &Manager{dir: dir, log: zaptest.NewLogger(t), source: ca.Source(t, shop)}
	both := x509bundle.FromX509Authorities(ca.TrustDomain(), append(ca.Bundle().X509Authorities(), other.Bundle().X509Authorities()...))
	at := func(epoch string, seq uint64) *typepb.SourceRevision {
		return &typepb.SourceRevision{Source: typepb.Source_SOURCE_IDENTITY, Epoch: epoch, Seq: seq}
	}
	steps := []struct {
		bundle   *x509bundle.Bundle
		revision *typepb.SourceRevision
		want     int
	}{
		{both, at("a", 5), 2},
		{ca.Bundle(), at("a", 4), 2}, // late news
		{ca.Bundle(), at("a", 6), 1},
		{both, at("b", 1), 2}, // a restored store
	}
	for i, s := range steps {
		m.SetBundle(s.bundle, s.revision)
		if got := len(m.source.Load().Bundle.X509Authorities()); got != s.want {
			t.Errorf("step %d: want %d authorities, got %d", i, s.want, got)
		}
	}
	stored, err := readCertificates(dir, statedir.Bundle)
	if err != nil || len(stored) != 2 {
		t.Errorf("stored bundle: %d authorities, %v", len(stored), err)
	}
}
