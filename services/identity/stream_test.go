package identity_test

import (
	"context"
	"crypto/elliptic"
	"crypto/tls"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// oneRequest is a stream whose client sends one request.
type oneRequest struct {
	grpc.ServerStream
	ctx  context.Context
	req  *identitypb.IssueX509SVIDRequest
	sent []*identitypb.IssueX509SVIDResponse
}

func (s *oneRequest) Context() context.Context { return s.ctx }

func (s *oneRequest) Send(r *identitypb.IssueX509SVIDResponse) error {
	s.sent = append(s.sent, r)
	return nil
}

func (s *oneRequest) Recv() (*identitypb.IssueX509SVIDRequest, error) {
	if s.req == nil {
		return nil, io.EOF
	}
	req := s.req
	s.req = nil
	return req, nil
}

// timed sends requests with pauses between them.
type timed struct {
	oneRequest
	pauses []time.Duration
	csr    []byte
}

func (s *timed) Recv() (*identitypb.IssueX509SVIDRequest, error) {
	if len(s.pauses) == 0 {
		return nil, io.EOF
	}
	time.Sleep(s.pauses[0])
	s.pauses = s.pauses[1:]
	return &identitypb.IssueX509SVIDRequest{Csr: s.csr}, nil
}

// connected is the context of a call over a connection with this SVID.
func connected(ctx context.Context, m *spiffe.Material) context.Context {
	account, err := spiffe.ParseID(m.ID)
	if err != nil {
		return ctx
	}
	state := tls.ConnectionState{}
	state.PeerCertificates = append(state.PeerCertificates, m.Certificate.Leaf)
	ctx = peer.NewContext(ctx, &peer.Peer{AuthInfo: credentials.TLSInfo{State: state}})
	return rpc.WithCaller(ctx, rpc.Caller{Account: account})
}

// TestE7_ExpiredSVIDRenewsNothing: a stream keeps its proof alive by renewing in time, and loses it by sleeping too long.
func TestE7_ExpiredSVIDRenewsNothing(t *testing.T) {
	dir := t.TempDir()
	_, csr := newCSR(t, elliptic.P256())
	tests := []struct {
		name   string
		pauses []time.Duration
		want   int
		refuse bool
	}{
		{"renews in time, for longer than the first SVID lives", []time.Duration{0, ttl / 2, ttl / 2, ttl / 2, ttl / 2}, 5, false},
		{"the SVID of the connection has run out", []time.Duration{2 * time.Hour}, 0, true},
		{"slept longer than the last SVID lived", []time.Duration{0, ttl / 2, ttl + time.Minute}, 2, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newParts(t, memkv.New(), dir, "a")
				run(t, p.service.Run)
				synctest.Wait()
				web := testca.New(t, "weft.local").SVID(t, spiffe.Account{Namespace: "default", Name: "web"}, testca.ValidFor(time.Hour))
				s := &timed{oneRequest: oneRequest{ctx: connected(t.Context(), web)}, pauses: tt.pauses, csr: csr}
				err := p.service.IssueX509SVID(s)
				if len(s.sent) != tt.want {
					t.Errorf("%d SVIDs issued, want %d", len(s.sent), tt.want)
				}
				if tt.refuse && (!fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "expired on")) {
					t.Errorf("error is %v, want a refusal that says when it expired", err)
				}
				if !tt.refuse && err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// An expired token is refused by the control plane's own clock, and swept.
func TestExpiredTokens(t *testing.T) {
	dir := t.TempDir()
	_, csr := newCSR(t, elliptic.P256())
	synctest.Test(t, func(t *testing.T) {
		store := memkv.New()
		p := newParts(t, store, dir, "a")
		run(t, p.service.Run)
		synctest.Wait()
		minted, err := p.service.CreateJoinToken(t.Context(), &identitypb.CreateJoinTokenRequest{Account: "web"})
		if err != nil {
			t.Fatal(err)
		}
		redeem := func() error {
			return p.service.IssueX509SVID(&oneRequest{ctx: t.Context(), req: &identitypb.IssueX509SVIDRequest{Csr: csr, JoinToken: minted.GetToken()}})
		}
		time.Sleep(10*time.Minute + time.Second)
		for _, when := range []string{"before the sweep", "after the sweep"} {
			if err := redeem(); !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "expired on") {
				t.Errorf("%s: error is %v, want a refusal that says when it expired", when, err)
			}
			time.Sleep(2 * time.Minute)
		}
		left, _, err := store.List(t.Context(), "jointokens/")
		if err != nil || len(left) != 0 {
			t.Errorf("%d join tokens are left in the store (%v)", len(left), err)
		}
	})
}
