package identity_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
)

// refused checks the code and that the message says something.
func refused(t *testing.T, err error, code codes.Code, says ...string) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("error is %v, want code %s", err, code)
		return
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

// TestE6_JoinNeedsNothingButAToken: from a token alone, trusting nobody else, a workload gets an SVID that verifies.
func TestE6_JoinNeedsNothingButAToken(t *testing.T) {
	r := start(t, memkv.New(), "a")
	text := r.token(t, "web")
	token, err := jointoken.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	pinned := r.anonymous(t, func(chain []*x509.Certificate) error {
		_, err := token.Anchor(chain)
		return err
	})
	key, csr := newCSR(t, elliptic.P256())
	resp, err := issue(t, pinned, &identitypb.IssueX509SVIDRequest{Csr: csr, JoinToken: text})
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := x509svid.ParseAndVerify(resp.GetCertificates(), bundleOf(t, resp.GetBundle()))
	if err != nil {
		t.Fatalf("SVID does not verify: %v", err)
	}
	if want := "spiffe://weft.local/ns/default/sa/web"; id.String() != want || resp.GetSpiffeId() != want {
		t.Errorf("SVID names %q and the answer %q, want %q", id, resp.GetSpiffeId(), want)
	}
	leaf := materialOf(t, key, resp).Certificate.Leaf
	if !resp.GetNotAfter().AsTime().Equal(leaf.NotAfter) {
		t.Errorf("the answer says until %s, the SVID %s", resp.GetNotAfter().AsTime(), leaf.NotAfter)
	}
	if left := leaf.NotAfter.Sub(resp.GetRenewAfter().AsTime()); left < ttl/2-ttl/100 || left > ttl/2+ttl/100 {
		t.Errorf("after the time of renewal %s are left, want half of %s", left, ttl)
	}
}

// TestID1_NothingInACSRNamesAnIdentity: who asks as web for the ID of another gets that of web.
func TestID1_NothingInACSRNamesAnIdentity(t *testing.T) {
	r := start(t, memkv.New(), "a")
	const other = "spiffe://weft.local/ns/weft-system/sa/gateway"
	_, csr := newCSR(t, elliptic.P384(), other)
	resp, err := issue(t, r.anonymous(t, anybody), &identitypb.IssueX509SVIDRequest{Csr: csr, JoinToken: r.token(t, "web")})
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := x509svid.ParseAndVerify(resp.GetCertificates(), bundleOf(t, resp.GetBundle()))
	if err != nil {
		t.Fatal(err)
	}
	if id.String() == other || id.Path() != "/ns/default/sa/web" {
		t.Errorf("SVID names %q", id)
	}
}

// TestID1_RenewalKeepsTheIdentity: on the same stream, on a new connection with the SVID, and at another replica.
func TestID1_RenewalKeepsTheIdentity(t *testing.T) {
	store := memkv.New()
	a := start(t, store, "a")
	first := a.join(t, a.token(t, "web"))
	b := start(t, store, "b", withConvergence(always{}))
	waitSigns(t, b)
	for name, r := range map[string]*replica{"same replica": a, "other replica": b} {
		t.Run(name, func(t *testing.T) {
			m := *first
			_, err := r.gateway(t).GetBundle(t.Context(), &identitypb.GetBundleRequest{})
			if err != nil {
				t.Fatal(err)
			}
			m.Bundle = r.source.Load().Bundle
			stream, err := r.as(t, &m).IssueX509SVID(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				_, csr := newCSR(t, elliptic.P256(), "spiffe://weft.local/ns/default/sa/admin")
				if err := stream.Send(&identitypb.IssueX509SVIDRequest{Csr: csr}); err != nil {
					t.Fatal(err)
				}
				resp, err := stream.Recv()
				if err != nil {
					t.Fatal(err)
				}
				if resp.GetSpiffeId() != first.ID.String() {
					t.Errorf("identity became %q, was %q", resp.GetSpiffeId(), first.ID)
				}
			}
		})
	}
}

// TestID1_AnotherIdentityIsRefused: neither a token for somebody else nor a later one changes who a connection is.
func TestID1_AnotherIdentityIsRefused(t *testing.T) {
	r := start(t, memkv.New(), "a")
	web := r.join(t, r.token(t, "web"))
	_, csr := newCSR(t, elliptic.P256())
	token := r.token(t, "admin")
	_, err := issue(t, r.as(t, web), &identitypb.IssueX509SVIDRequest{Csr: csr, JoinToken: token})
	refused(t, err, codes.PermissionDenied, "default/web", "default/admin", "never changes")

	stream, err := r.as(t, web).IssueX509SVID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, req := range []*identitypb.IssueX509SVIDRequest{{Csr: csr}, {Csr: csr, JoinToken: token}} {
		if err := stream.Send(req); err != nil {
			t.Fatal(err)
		}
		if _, err = stream.Recv(); i == 0 && err != nil {
			t.Fatal(err)
		}
	}
	refused(t, err, codes.InvalidArgument, "join_token", "default/web")
	// A refusal redeems nothing: its rightful holder can still join.
	if m := r.join(t, token); m.ID.Path() != "/ns/default/sa/admin" {
		t.Errorf("joined as %q", m.ID)
	}
}

// TestID2_PeersOfAnotherAuthorityAreRefused: an SVID that somebody else signed proves nothing here.
func TestID2_PeersOfAnotherAuthorityAreRefused(t *testing.T) {
	r := start(t, memkv.New(), "a")
	web := spiffe.Account{Namespace: "default", Name: "web"}
	trust := testca.WithBundle(r.source.Load().Bundle) // they verify the server; it is the server that must refuse them
	for name, m := range map[string]*spiffe.Material{
		"foreign authority":    testca.New(t, "weft.local").SVID(t, web, trust),
		"another trust domain": testca.New(t, "other.local").SVID(t, web, trust),
	} {
		t.Run(name, func(t *testing.T) {
			_, csr := newCSR(t, elliptic.P256())
			_, err := issue(t, r.as(t, m), &identitypb.IssueX509SVIDRequest{Csr: csr})
			refused(t, err, codes.Unavailable) // the handshake fails; which side says so first is a matter of time
		})
	}
	t.Run("nobody", func(t *testing.T) {
		_, csr := newCSR(t, elliptic.P256())
		_, err := issue(t, r.anonymous(t, anybody), &identitypb.IssueX509SVIDRequest{Csr: csr})
		refused(t, err, codes.Unauthenticated, "join token", "SVID")
	})
}

func TestBadCSRs(t *testing.T) {
	r := start(t, memkv.New(), "a")
	token := r.token(t, "web")
	_, good := newCSR(t, elliptic.P256())
	forged := append([]byte(nil), good...)
	forged[len(forged)-1] ^= 1
	_, curve := newCSR(t, elliptic.P521())
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		csr  []byte
		says string
	}{
		"missing":   {nil, "missing"},
		"not a CSR": {[]byte("hello"), "PKCS#10"},
		"trailing":  {append(append([]byte(nil), good...), 0), "PKCS#10"},
		"forged":    {forged, "signed"},
		"P-521":     {curve, "P-521"},
		"Ed25519":   {csrOf(t, ed), "allowed are"},
		"short RSA": {csrOf(t, small), "1024 bits"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := issue(t, r.anonymous(t, anybody), &identitypb.IssueX509SVIDRequest{Csr: tt.csr, JoinToken: token})
			refused(t, err, codes.InvalidArgument, "csr", tt.says)
		})
	}
	r.join(t, token) // none of that has used it up
}

func csrOf(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
