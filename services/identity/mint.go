package identity

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
)

// Bounds of the lifetime of a join token.
const (
	minJoinTokenTTL = time.Second
	maxJoinTokenTTL = 24 * time.Hour
)

// maxServices bounds the services that one token may name.
const maxServices = 64

// CreateJoinToken mints a token. The rule of the method has seen to it that an administrator asks, who may name any account,
// those of weft-system included.
func (s *Service) CreateJoinToken(ctx context.Context, r *identitypb.CreateJoinTokenRequest) (*identitypb.CreateJoinTokenResponse, error) {
	account, ttl, err := s.judgeJoinToken(r)
	if err != nil {
		return nil, err
	}
	set, err := s.anchors()
	if err != nil {
		return nil, err
	}
	id, err := s.accountID(account)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%v", err)
	}
	principal := s.principal(ctx)
	record := newJoinTokenRecord(r, account, principal, ttl)
	token := jointoken.Token{TrustDomain: s.trust.td.Name(), Addresses: s.addresses(), Expires: record.GetExpireTime().AsTime()}
	for _, a := range set.roots {
		token.Roots = append(token.Roots, a.fingerprint)
	}
	if token.ID, token.Secret, err = s.joinTokens.create(ctx, record); err != nil {
		return nil, err
	}
	text, err := jointoken.Encode(token)
	if err != nil {
		return nil, fmt.Errorf("mint join token for %q: %w", account, err)
	}
	s.metrics.minted()
	s.log.Info("join token minted", zap.String("token", token.ID), zap.Stringer("account", account),
		zap.Strings("services", r.GetServices()), zap.String("principal", principal), zap.Time("expire_time", token.Expires))
	return &identitypb.CreateJoinTokenResponse{Token: text, ExpireTime: record.GetExpireTime(), SpiffeId: id.String()}, nil
}

func (s *Service) judgeJoinToken(r *identitypb.CreateJoinTokenRequest) (spiffe.Account, time.Duration, error) {
	account := spiffe.Account{Namespace: r.GetNamespace(), Name: r.GetAccount()}
	if account.Namespace == "" {
		account.Namespace = model.DefaultNamespace
	}
	var fields []fault.Field
	label := func(path, value string) {
		if !model.IsLabel(value) {
			fields = append(fields, fault.Field{Path: path, Problem: fmt.Sprintf("%q is not a lower-case RFC 1123 label of at most 63 bytes", value)})
		}
	}
	label("namespace", account.Namespace)
	label("account", account.Name)
	if n := len(r.GetServices()); n > maxServices {
		fields = append(fields, fault.Field{Path: "services", Problem: fmt.Sprintf("has %d entries, at most %d are allowed", n, maxServices)})
	}
	for i, service := range r.GetServices() {
		label(fmt.Sprintf("services[%d]", i), service)
	}
	ttl := s.cfg.JoinTokenTTL
	if r.GetTtl() != nil {
		ttl = r.GetTtl().AsDuration()
		fields = append(fields, ttlFields(r.GetTtl(), minJoinTokenTTL, maxJoinTokenTTL)...)
	}
	return account, ttl, fault.InvalidFields("request for a join token", fields)
}

// ttlFields says whether a lifetime is outside of its bounds; a limit of 0 is none.
func ttlFields(ttl *durationpb.Duration, least, most time.Duration) []fault.Field {
	switch d := ttl.AsDuration(); {
	case !ttl.IsValid():
		return []fault.Field{{Path: "ttl", Problem: "is not a duration"}}
	case d < least:
		return []fault.Field{{Path: "ttl", Problem: fmt.Sprintf("%s is too short; at least %s", d, plain(least))}}
	case most > 0 && d > most:
		return []fault.Field{{Path: "ttl", Problem: fmt.Sprintf("%s is too long; at most %s", d, plain(most))}}
	}
	return nil
}

// plain writes 24h and not 24h0m0s.
func plain(d time.Duration) string {
	return strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "0m")
}

// timestampOrNil is absent for a lifetime without an end.
func timestampOrNil(from time.Time, ttl *durationpb.Duration) *timestamppb.Timestamp {
	if ttl == nil {
		return nil
	}
	return timestamppb.New(from.Add(ttl.AsDuration()))
}
