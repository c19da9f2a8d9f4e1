package identity

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/timestamppb"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// IssueX509SVID answers each request of a stream with one SVID. Who the stream is for is settled by the proof of its first
// request and never changes.
func (s *Service) IssueX509SVID(stream grpc.BidiStreamingServer[identitypb.IssueX509SVIDRequest, identitypb.IssueX509SVIDResponse]) error {
	h := &holder{}
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		resp, err := s.issue(stream.Context(), h, req)
		s.metrics.issued(err)
		if err != nil {
			return err
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
}

// holder is who a stream is for. It belongs to the stream's goroutine.
type holder struct {
	proven  bool
	account spiffe.Account
	// until is the end of what proves it: the SVID of the connection, or the last one issued on the stream.
	until time.Time
}

// issue checks everything that can be wrong with a request before it redeems a token, which works only once.
func (s *Service) issue(ctx context.Context, h *holder, req *identitypb.IssueX509SVIDRequest) (*identitypb.IssueX509SVIDResponse, error) {
	if err := s.distribution.check(); err != nil {
		return nil, err
	}
	set, err := s.anchors()
	if err != nil {
		return nil, err
	}
	key, err := csrKey(req.GetCsr())
	if err != nil {
		return nil, err
	}
	if err := s.prove(ctx, h, req.GetJoinToken()); err != nil {
		return nil, err
	}
	id, chain, err := s.trust.sign(ctx, h.account, key)
	if err != nil {
		return nil, err
	}
	now, end := time.Now(), chain[0].NotAfter
	h.until = end
	s.log.Debug("svid issued", zap.Stringer("spiffe_id", id), zap.Time("not_after", end))
	resp := &identitypb.IssueX509SVIDResponse{
		SpiffeId:   id.String(),
		NotAfter:   timestamppb.New(end),
		RenewAfter: timestamppb.New(now.Add(end.Sub(now) / 2)),
		Bundle:     s.bundleOf(set),
	}
	for _, cert := range chain {
		resp.Certificates = append(resp.Certificates, cert.Raw)
	}
	return resp, nil
}

// prove settles who the stream is for, or checks that this is still proven.
func (s *Service) prove(ctx context.Context, h *holder, token string) error {
	switch {
	case h.proven && token != "":
		return fault.InvalidFields("request for an SVID", []fault.Field{
			{Path: "join_token", Problem: "belongs into the first request of a stream only; this stream is for " + h.account.String()},
		})
	case h.proven:
		return h.check()
	case token != "":
		return s.proveByToken(ctx, h, token)
	}
	return h.proveByConnection(ctx)
}

func (s *Service) proveByToken(ctx context.Context, h *holder, token string) error {
	claim, err := s.joinTokens.verify(ctx, token)
	if err == nil {
		if caller := rpc.CallerFrom(ctx); !caller.Anonymous() && caller.Account != claim.account() {
			err = fault.New(fault.Denied, "this connection is proven to be %q, but the join token is for %q: an identity never changes; connect without a certificate",
				caller.Account, claim.account())
		}
	}
	if err == nil {
		err = s.joinTokens.redeem(ctx, claim)
	}
	s.metrics.redeemed(err)
	if err != nil {
		return err
	}
	s.log.Info("join token redeemed", zap.String("token", claim.id), zap.Stringer("account", claim.account()))
	h.proven, h.account = true, claim.account()
	return nil
}

func (h *holder) proveByConnection(ctx context.Context) error {
	caller := rpc.CallerFrom(ctx)
	end, ok := connectionEnd(ctx)
	if caller.Anonymous() || !ok {
		return fault.New(fault.Anonymous, "the first request proves nothing: it needs a join token, or a connection with the SVID that is to be renewed")
	}
	h.proven, h.account, h.until = true, caller.Account, end
	return h.check()
}

// check refuses a renewal after the SVID that would prove it has run out: a stream may have slept longer than it lived.
func (h *holder) check() error {
	if time.Now().Before(h.until) {
		return nil
	}
	return fault.New(fault.Denied, "the SVID that proves %q expired on %s and proves nothing any more; ask for a new join token",
		h.account, h.until.UTC().Format(time.RFC3339))
}

// connectionEnd is the end of validity of the certificate that the peer presented. The handshake has verified it.
func connectionEnd(ctx context.Context) (time.Time, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return time.Time{}, false
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return time.Time{}, false
	}
	return info.State.PeerCertificates[0].NotAfter, true
}

// accountID is the SPIFFE ID of an account, for answers and logs.
func (s *Service) accountID(a spiffe.Account) (spiffeid.ID, error) { return spiffe.ID(s.trust.td, a) }
