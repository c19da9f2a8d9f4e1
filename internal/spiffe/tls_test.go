package spiffe_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
)

// handshake connects two configurations and passes one byte each way. It returns what each side thinks of it.
func handshake(t *testing.T, client, server *tls.Config) (clientErr, serverErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = exchange(tls.Server(conn, server))
		}
		done <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	clientErr = exchange(tls.Client(conn, client))
	return clientErr, <-done
}

func exchange(conn *tls.Conn) (err error) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if err := conn.Handshake(); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 1))
	return err
}

func TestE7_HandshakeMatrix(t *testing.T) {
	ca, foreign, other := testca.New(t, "weft.local"), testca.New(t, "weft.local"), testca.New(t, "other.local")
	api := spiffe.Account{Namespace: "default", Name: "api"}
	lenient := testca.WithBundle(ca.Bundle()) // so that it is the other side that refuses
	tests := []struct {
		name           string
		client, server *spiffe.Material
		clientRefuses  string
		serverRefuses  string
	}{
		{name: "both good", client: ca.SVID(t, web()), server: ca.SVID(t, api)},
		{name: "server with its root", client: ca.SVID(t, web()), server: ca.SVID(t, api, testca.WithRoot())},
		{name: "foreign client", client: foreign.SVID(t, web(), lenient), server: ca.SVID(t, api), serverRefuses: "verify peer"},
		{name: "foreign server", client: ca.SVID(t, web()), server: foreign.SVID(t, api), clientRefuses: "verify peer"},
		{name: "client of another trust domain", client: other.SVID(t, web(), lenient), server: ca.SVID(t, api), serverRefuses: "verify peer"},
		{name: "expired client", client: ca.SVID(t, web(), testca.Expired()), server: ca.SVID(t, api), serverRefuses: "expired"},
		{name: "expired server", client: ca.SVID(t, web()), server: ca.SVID(t, api, testca.Expired()), clientRefuses: "expired"},
		{name: "client without URI", client: ca.SVID(t, web(), testca.WithURIs()), server: ca.SVID(t, api), serverRefuses: "URI"},
		{
			name: "client with two URIs", server: ca.SVID(t, api), serverRefuses: "URI",
			client: ca.SVID(t, web(), testca.WithURIs("spiffe://weft.local/ns/default/sa/web", "spiffe://weft.local/ns/default/sa/api")),
		},
		{name: "another server than expected", client: ca.SVID(t, api), server: ca.SVID(t, web()), clientRefuses: "expected one of"},
		{name: "CA as a client", client: ca.SVID(t, web(), testca.AsCA()), server: ca.SVID(t, api), serverRefuses: "CA"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := spiffe.ClientTLS(spiffe.NewSource(tt.client), spiffe.OneOf(ca.ID(t, api)))
			source := spiffe.NewSource(tt.server)
			clientErr, serverErr := handshake(t, client, spiffe.ServerTLS(source, spiffe.AnyMember(source)))
			judge(t, "client", clientErr, tt.clientRefuses, tt.serverRefuses != "")
			judge(t, "server", serverErr, tt.serverRefuses, tt.clientRefuses != "")
		})
	}
}

// judge checks what one side says: its own refusal in words, any error when the other side refused, else none.
func judge(t *testing.T, side string, err error, refuses string, other bool) {
	t.Helper()
	switch {
	case refuses != "" && (err == nil || !strings.Contains(err.Error(), refuses)):
		t.Errorf("%s says %v, want a refusal with %q", side, err, refuses)
	case refuses == "" && other && err == nil:
		t.Errorf("%s noticed nothing of the other side's refusal", side)
	case refuses == "" && !other && err != nil:
		t.Errorf("%s says %v", side, err)
	}
}

func TestID1_WrongURISANIsRefused(t *testing.T) {
	ca := testca.New(t, "weft.local")
	server := ca.Source(t, web())
	for name, uris := range map[string][]string{
		"no URI":           {},
		"two URIs":         {"spiffe://weft.local/ns/a/sa/b", "spiffe://weft.local/ns/a/sa/c"},
		"not SPIFFE":       {"https://weft.local/ns/a/sa/b"},
		"other domain":     {"spiffe://other.local/ns/a/sa/b"},
		"trust domain":     {"spiffe://weft.local"},
		"with a query":     {"spiffe://weft.local/ns/a/sa/b?x=1"},
		"a port":           {"spiffe://weft.local:1/ns/a/sa/b"},
		"an empty segment": {"spiffe://weft.local/ns//sa/b"},
	} {
		t.Run(name, func(t *testing.T) {
			leaf := ca.SVID(t, web(), testca.WithURIs(uris...))
			chain, err := spiffe.Certificates(leaf.Certificate.Certificate)
			if err != nil {
				t.Fatal(err)
			}
			if id, err := spiffe.PeerID(server, chain); err == nil {
				if _, err := spiffe.ParseID(id); err == nil {
					t.Errorf("was accepted as %q", id)
				}
			}
		})
	}
}

func TestServerTLSOptional(t *testing.T) {
	ca := testca.New(t, "weft.local")
	source := ca.Source(t, web())
	server := spiffe.ServerTLSOptional(source, spiffe.AnyMember(source))
	anonymous := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true} // what is under test is the server
	if c, s := handshake(t, anonymous, server); c != nil || s != nil {
		t.Errorf("a client without a certificate is refused: %v, %v", c, s)
	}
	foreign := testca.New(t, "weft.local").Source(t, web(), testca.WithBundle(ca.Bundle()))
	if _, s := handshake(t, spiffe.ClientTLS(foreign, spiffe.OneOf(ca.ID(t, web()))), server); s == nil {
		t.Error("a client with a foreign certificate is accepted")
	}
	if _, s := handshake(t, anonymous, spiffe.ServerTLS(source, spiffe.AnyMember(source))); s == nil {
		t.Error("a server that demands a certificate accepts none")
	}
}

// A session that is resumed is verified again: a bundle that has lost the peer's authority ends it.
func TestE5_ResumptionIsVerifiedAgain(t *testing.T) {
	ours, theirs := testca.New(t, "weft.local"), testca.New(t, "weft.local")
	source := ours.Source(t, web(), testca.Trusting(theirs))
	server := spiffe.ServerTLS(source, spiffe.AnyMember(source))
	client := spiffe.ClientTLS(theirs.Source(t, web(), testca.Trusting(ours)), spiffe.OneOf(ours.ID(t, web())))
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	client.ServerName = "web"
	resumed := false
	check := client.VerifyConnection
	client.VerifyConnection = func(s tls.ConnectionState) error {
		resumed = s.DidResume
		return check(s)
	}
	for range 2 {
		if c, s := handshake(t, client, server); c != nil || s != nil {
			t.Fatal(c, s)
		}
	}
	if !resumed {
		t.Fatal("the second handshake did not resume; this test shows nothing")
	}
	source.SetBundle(ours.Bundle())
	if _, s := handshake(t, client, server); s == nil {
		t.Error("a resumed session of a dropped authority is accepted")
	}
}

func TestNoSVIDYet(t *testing.T) {
	ca := testca.New(t, "weft.local")
	empty := spiffe.NewSource(nil)
	client := ca.Source(t, web())
	_, s := handshake(t, spiffe.ClientTLS(client, spiffe.AnyMember(client)), spiffe.ServerTLS(empty, spiffe.AnyMember(empty)))
	if !errors.Is(s, spiffe.ErrNoSVID) {
		t.Errorf("server says %v, want %v", s, spiffe.ErrNoSVID)
	}
	if err := spiffe.AnyMember(empty)(spiffeid.RequireFromString("spiffe://weft.local/a")); !errors.Is(err, spiffe.ErrNoSVID) {
		t.Errorf("authorization says %v, want %v", err, spiffe.ErrNoSVID)
	}
	if _, err := spiffe.PeerID(client, nil); err == nil {
		t.Error("no certificate names somebody")
	}
}
