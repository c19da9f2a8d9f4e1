package testca_test

import (
	"crypto/x509"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
)

func TestSVIDs(t *testing.T) {
	ca := testca.New(t, "weft.local")
	web := spiffe.Account{Namespace: "default", Name: "web"}
	tests := []struct {
		name   string
		svid   *spiffe.Material
		refuse bool
	}{
		{name: "good", svid: ca.SVID(t, web)},
		{name: "with its root", svid: ca.SVID(t, web, testca.WithRoot())},
		{name: "short", svid: ca.SVID(t, web, testca.ValidFor(time.Hour))},
		{name: "expired", svid: ca.SVID(t, web, testca.Expired()), refuse: true},
		{name: "not yet valid", svid: ca.SVID(t, web, testca.NotYetValid()), refuse: true},
		{name: "foreign", svid: testca.New(t, "weft.local").SVID(t, web), refuse: true},
		{name: "of another trust domain", svid: testca.New(t, "other.local").SVID(t, web), refuse: true},
		{name: "no URI", svid: ca.SVID(t, web, testca.WithURIs()), refuse: true},
		{name: "two URIs", svid: ca.SVID(t, web, testca.WithURIs("spiffe://weft.local/ns/a/sa/b", "spiffe://weft.local/ns/a/sa/c")), refuse: true},
		{name: "not a SPIFFE URI", svid: ca.SVID(t, web, testca.WithURIs("https://weft.local/ns/a/sa/b")), refuse: true},
		{name: "a CA", svid: ca.SVID(t, web, testca.AsCA()), refuse: true},
		{name: "may sign", svid: ca.SVID(t, web, testca.WithKeyUsage(x509.KeyUsageDigitalSignature|x509.KeyUsageCertSign)), refuse: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := x509svid.ParseAndVerify(tt.svid.Certificate.Certificate, ca.Bundle())
			if (err != nil) != tt.refuse {
				t.Errorf("refused = %v (%v), want %v", err != nil, err, tt.refuse)
			}
		})
	}
}

func TestTrusting(t *testing.T) {
	ours, theirs := testca.New(t, "weft.local"), testca.New(t, "weft.local")
	m := ours.SVID(t, spiffe.Account{Namespace: "default", Name: "web"}, testca.Trusting(theirs))
	if !m.Bundle.HasX509Authority(ours.Root()) || !m.Bundle.HasX509Authority(theirs.Root()) {
		t.Error("bundle lacks one of the two roots")
	}
	if ours.Bundle().HasX509Authority(theirs.Root()) {
		t.Error("an option changed the CA's own bundle")
	}
}

func TestValidInABubble(t *testing.T) {
	ca := testca.New(t, "weft.local")
	synctest.Test(t, func(t *testing.T) {
		m := ca.SVID(t, spiffe.Account{Namespace: "default", Name: "web"})
		if _, _, err := x509svid.ParseAndVerify(m.Certificate.Certificate, ca.Bundle()); err != nil {
			t.Error(err)
		}
	})
}
