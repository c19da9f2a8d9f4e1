package selfid_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/selfid"
	"github.com/weft-mesh/weft/services/internal/selfid/selfidtest"
)

// keep runs a keeper until the returned function is called.
func keep(t *testing.T, ca selfid.Issuer, service, dir string, td *selfidtest.CA) (*spiffe.Source, func()) {
	t.Helper()
	source := spiffe.NewSource(nil)
	k, err := selfid.New(selfid.Config{Service: service, TrustDomain: td.TrustDomain(), Dir: dir}, ca, source, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	return source, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	}
}

func TestRenewsAtHalfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := selfidtest.New(t)
		source, stop := keep(t, ca, "policy", "", ca)
		defer stop()
		first, err := source.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := "spiffe://weft.local/ns/weft-system/sa/policy"; first.ID.String() != want {
			t.Errorf("ID = %q, want %q", first.ID, want)
		}
		time.Sleep(ca.Lifetime * 39 / 100)
		synctest.Wait()
		if source.Load() != first {
			t.Error("renewed before four tenths of its life")
		}
		time.Sleep(ca.Lifetime * 12 / 100)
		synctest.Wait()
		second := source.Load()
		if second == first || !second.NotAfter().After(first.NotAfter()) {
			t.Error("not renewed at half of its life")
		}
		if second.Generation != first.Generation {
			t.Error("the generation changed although the bundle did not")
		}
	})
}

func TestOutlivesAnOutageOfTheIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := selfidtest.New(t)
		source, stop := keep(t, ca, "policy", "", ca)
		defer stop()
		first, err := source.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ca.Fail(errors.New("away"))
		time.Sleep(ca.Lifetime * 9 / 10)
		synctest.Wait()
		if source.Load() != first {
			t.Error("the SVID changed although nobody issued one")
		}
		ca.Fail(nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if source.Load() == first {
			t.Error("not renewed after the issuer came back")
		}
	})
}

func TestWaitsForTheIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := selfidtest.New(t)
		ca.Fail(errors.New("away"))
		source, stop := keep(t, ca, "policy", "", ca)
		defer stop()
		time.Sleep(time.Minute)
		if source.Load() != nil {
			t.Fatal("there is an SVID although nobody issued one")
		}
		ca.Fail(nil)
		if _, err := source.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestFollowsTheBundle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := selfidtest.New(t)
		source, stop := keep(t, ca, "policy", "", ca)
		defer stop()
		first, err := source.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ca.Rotate(t)
		synctest.Wait()
		second := source.Load()
		if got := len(second.Bundle.X509Authorities()); got != 2 {
			t.Errorf("bundle has %d authorities, want 2", got)
		}
		if second.Generation <= first.Generation {
			t.Errorf("generation %d after a new bundle, want more than %d", second.Generation, first.Generation)
		}
	})
}

// forbidden is an issuer that must not be asked.
type forbidden struct {
	*selfidtest.CA
	t *testing.T
}

func (f forbidden) Issue(context.Context, string, []byte) (selfid.Issued, error) {
	f.t.Error("asked for an SVID although the kept one is valid")
	return selfid.Issued{}, errors.New("no")
}

func TestRestartsFromItsFiles(t *testing.T) {
	ca := selfidtest.New(t)
	dir := filepath.Join(t.TempDir(), "svids", "policy")
	source, stop := keep(t, ca, "policy", dir, ca)
	first, err := source.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stop()
	for name, want := range map[string]os.FileMode{"": 0o700 | os.ModeDir, "svid.pem": 0o600, "bundle.pem": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("mode of %q = %v (%v), want %v", name, info.Mode(), err, want)
		}
	}
	source, stop = keep(t, forbidden{ca, t}, "policy", dir, ca)
	defer stop()
	second, err := source.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !second.Certificate.Leaf.Equal(first.Certificate.Leaf) {
		t.Error("the kept SVID is another one")
	}
}

func TestFilesOfNoUseAreReplaced(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, dir string)
	}{
		{"cut", func(t *testing.T, dir string) { truncate(t, filepath.Join(dir, "svid.pem")) }},
		{"no bundle", func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "bundle.pem")) }},
		{"another service's", func(t *testing.T, dir string) {
			ca := selfidtest.New(t)
			source, stop := keep(t, ca, "identity", dir+"-other", ca)
			if _, err := source.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			stop()
			remove(t, dir)
			if err := os.Rename(dir+"-other", dir); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			ca := selfidtest.New(t)
			dir := filepath.Join(t.TempDir(), "policy")
			source, stop := keep(t, ca, "policy", dir, ca)
			if _, err := source.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			stop()
			before := ca.Issued()
			tc.spoil(t, dir)
			source, stop = keep(t, ca, "policy", dir, ca)
			defer stop()
			m, err := source.Wait(t.Context())
			if err != nil || ca.Issued() != before+1 {
				t.Errorf("SVID = %v (%v) after %d more issued, want a new one", m, err, ca.Issued()-before)
			}
		})
	}
}

func truncate(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// liar issues what is somebody else's.
type liar struct{ *selfidtest.CA }

func (l liar) Issue(_ context.Context, _ string, csr []byte) (selfid.Issued, error) {
	return l.IssueTo(spiffe.Account{Namespace: "default", Name: "web"}, csr)
}

func TestRefusesAnotherIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := selfidtest.New(t)
		source, stop := keep(t, liar{ca}, "policy", "", ca)
		defer stop()
		time.Sleep(time.Minute)
		if m := source.Load(); m != nil {
			t.Errorf("took %q for its own", m.ID)
		}
	})
}

// request is a CSR of a new key.
func request(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}
