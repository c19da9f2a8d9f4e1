package controltest

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
)

// Identity issues SVIDs for tokens, once each, and renews them for whoever shows one.
type Identity struct {
	identitypb.UnimplementedIdentityServiceServer
	plane *Plane

	// TTL of SVIDs, and RenewAfter of the answers; 0: half of TTL. Set before use.
	TTL, RenewAfter time.Duration

	mu     sync.Mutex
	next   int
	tokens map[string]spiffe.Account // by ID; redeemed ones are gone
	issued int
}

func (s *Identity) mint(account spiffe.Account) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	id := fmt.Sprint("token-", s.next)
	s.tokens[id] = account
	return id
}

// Issued is how many SVIDs were issued.
func (s *Identity) Issued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issued
}

func (s *Identity) redeem(text string) (spiffe.Account, error) {
	token, err := jointoken.Decode(text)
	if err != nil {
		return spiffe.Account{}, status.Error(codes.InvalidArgument, err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	account, ok := s.tokens[token.ID]
	if !ok {
		return spiffe.Account{}, status.Errorf(codes.PermissionDenied, "join token %q has been used", token.ID)
	}
	delete(s.tokens, token.ID)
	return account, nil
}

// IssueX509SVID answers each request.
func (s *Identity) IssueX509SVID(st identitypb.IdentityService_IssueX509SVIDServer) error {
	for {
		r, err := st.Recv()
		if err != nil {
			return nil // the client has what it wanted
		}
		var account spiffe.Account
		if r.GetJoinToken() != "" {
			account, err = s.redeem(r.GetJoinToken())
		} else {
			account, err = caller(st.Context())
		}
		if err != nil {
			return err
		}
		if err := st.Send(s.answer(account, r.GetCsr())); err != nil {
			return err
		}
	}
}

func (s *Identity) answer(account spiffe.Account, csr []byte) *identitypb.IssueX509SVIDResponse {
	s.mu.Lock()
	s.issued++
	seq := uint64(s.issued)
	s.mu.Unlock()
	renew := s.RenewAfter
	if renew == 0 {
		renew = s.TTL / 2
	}
	now := time.Now()
	return &identitypb.IssueX509SVIDResponse{
		SpiffeId:     s.plane.CA.ID(s.plane.tb, account).String(),
		Certificates: s.plane.CA.Issue(s.plane.tb, account, csr, s.TTL),
		NotAfter:     timestamppb.New(now.Add(s.TTL)),
		RenewAfter:   timestamppb.New(now.Add(renew)),
		Bundle: &identitypb.Bundle{
			TrustDomain: "weft.local", X509Authorities: [][]byte{s.plane.CA.Root().Raw},
			Revision: &typepb.SourceRevision{Source: typepb.Source_SOURCE_IDENTITY, Epoch: "test", Seq: seq},
		},
	}
}
