package identity_test

import (
	"crypto/elliptic"
	"crypto/tls"
	"testing"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/identity"
)

// TestE6_ProcessFromNothing starts identity as a process does, on an empty store and an empty directory, with no certificate
// given to anybody, and goes all the way to an SVID that renews itself at the next process on the same directory.
func TestE6_ProcessFromNothing(t *testing.T) {
	settings := app.Default()
	settings.DataDir, settings.RunDir = t.TempDir(), t.TempDir()
	settings.Store.Kind = app.StoreMem // the second process finds it empty: what it knows comes from the directory
	*settings.Listen.Port(app.Identity) = 0

	addr, stop := process(t, settings)
	administrator := dial(t, addr, &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true})
	minted, err := administrator.CreateJoinToken(bearer(t.Context(), fileToken(t, settings.DataDir)), &identitypb.CreateJoinTokenRequest{Account: "web"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := jointoken.Decode(minted.GetToken())
	if err != nil {
		t.Fatal(err)
	}
	if got := token.Addresses.Identity; len(got) != 1 || got[0] != addr {
		t.Fatalf("token says that identity is at %q, it is at %q", got, addr)
	}
	pinned := dial(t, token.Addresses.Identity[0], &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			_, err := token.Anchor(state.PeerCertificates)
			return err
		},
	})
	key, csr := newCSR(t, elliptic.P256())
	resp, err := issue(t, pinned, &identitypb.IssueX509SVIDRequest{Csr: csr, JoinToken: minted.GetToken()})
	if err != nil {
		t.Fatal(err)
	}
	web := materialOf(t, key, resp)
	stop()

	addr, _ = process(t, settings)
	server, err := spiffe.ID(td(), spiffe.Account{Namespace: spiffe.SystemNamespace, Name: app.Identity})
	if err != nil {
		t.Fatal(err)
	}
	_, csr = newCSR(t, elliptic.P256())
	renewed, err := issue(t, dial(t, addr, spiffe.ClientTLS(spiffe.NewSource(web), spiffe.OneOf(server))), &identitypb.IssueX509SVIDRequest{Csr: csr})
	if err != nil {
		t.Fatal(err)
	}
	if renewed.GetSpiffeId() != web.ID.String() {
		t.Errorf("identity became %q, was %q", renewed.GetSpiffeId(), web.ID)
	}
}

// process runs identity alone until the test or stop ends it, and returns where it listens once it is ready.
func process(t *testing.T, settings *app.Settings) (addr string, stop func()) {
	t.Helper()
	ready := make(chan app.Ports, 1)
	p := app.Process{
		Settings: settings, Log: zap.NewNop(), Builds: []app.Build{identity.Build()}, Ready: func(p app.Ports) { ready <- p },
	}
	stop = run(t, p.Run)
	select {
	case ports := <-ready:
		return ports[app.Identity].GRPC, stop
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
		return "", stop
	}
}

func dial(t *testing.T, addr string, cfg *tls.Config) identitypb.IdentityServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return identitypb.NewIdentityServiceClient(conn)
}
