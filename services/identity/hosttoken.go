package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/model"
)

// DefaultHostTokenTTL is how long a host's token works when its maker says nothing.
const DefaultHostTokenTTL = time.Hour

// maxScope bounds the namespaces and the accounts of a host.
const maxScope = 64

// CreateHostToken mints a token for a host. The rule of the method has seen to it that an administrator asks.
func (s *Service) CreateHostToken(ctx context.Context, r *identitypb.CreateHostTokenRequest) (*identitypb.CreateHostTokenResponse, error) {
	ttl, err := judgeHostToken(r)
	if err != nil {
		return nil, err
	}
	set, err := s.anchors()
	if err != nil {
		return nil, err
	}
	id, secret, err := newSecret()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	record := &identitypb.HostTokenRecord{
		SecretSha256: hashSecret(secret), Scope: r.GetScope(), CredentialTtl: r.GetCredentialTtl(), Principal: s.principal(ctx),
		CreateTime: timestamppb.New(now), ExpireTime: timestamppb.New(now.Add(ttl).Truncate(time.Second)),
	}
	token := jointoken.Token{TrustDomain: s.trust.td.Name(), Addresses: s.addresses(), ID: id, Secret: secret, Expires: record.GetExpireTime().AsTime()}
	for _, a := range set.roots {
		token.Roots = append(token.Roots, a.fingerprint)
	}
	text, err := jointoken.EncodeHost(token)
	if err != nil {
		return nil, fmt.Errorf("mint token for host %q: %w", r.GetScope().GetHost(), err)
	}
	if _, err := writeRecord(ctx, s.store, recordKey(collectionHostTokens, id), record, kv.IfAbsent()); err != nil {
		return nil, storeFault(err, "store host token")
	}
	s.log.Info("host token minted", zap.String("token", id), zap.String("host", r.GetScope().GetHost()),
		zap.Strings("namespaces", r.GetScope().GetNamespaces()), zap.Strings("accounts", r.GetScope().GetAccounts()),
		zap.String("principal", record.GetPrincipal()), zap.Time("expire_time", token.Expires))
	return &identitypb.CreateHostTokenResponse{
		Token: text, ExpireTime: record.GetExpireTime(), CredentialId: id, GatewayAddresses: s.gateways(),
	}, nil
}

func judgeHostToken(r *identitypb.CreateHostTokenRequest) (time.Duration, error) {
	var fields []fault.Field
	label := func(path, value string) {
		if !model.IsLabel(value) {
			fields = append(fields, fault.Field{Path: path, Problem: fmt.Sprintf("%q is not a lower-case RFC 1123 label of at most 63 bytes", value)})
		}
	}
	label("scope.host", r.GetScope().GetHost())
	if n := len(r.GetScope().GetNamespaces()); n == 0 || n > maxScope {
		fields = append(fields, fault.Field{Path: "scope.namespaces", Problem: fmt.Sprintf("has %d entries, 1 to %d are allowed", n, maxScope)})
	}
	for i, namespace := range r.GetScope().GetNamespaces() {
		path := fmt.Sprintf("scope.namespaces[%d]", i)
		label(path, namespace)
		if namespace == spiffe.SystemNamespace {
			fields = append(fields, fault.Field{Path: path, Problem: fmt.Sprintf("%q is the control plane's; no host may have identities of it", namespace)})
		}
	}
	if n := len(r.GetScope().GetAccounts()); n > maxScope {
		fields = append(fields, fault.Field{Path: "scope.accounts", Problem: fmt.Sprintf("has %d entries, at most %d are allowed", n, maxScope)})
	}
	for i, account := range r.GetScope().GetAccounts() {
		label(fmt.Sprintf("scope.accounts[%d]", i), account)
	}
	ttl := DefaultHostTokenTTL
	if r.GetTtl() != nil {
		ttl = r.GetTtl().AsDuration()
		fields = append(fields, ttlFields(r.GetTtl(), minJoinTokenTTL, maxJoinTokenTTL)...)
	}
	if r.GetCredentialTtl() != nil {
		for _, f := range ttlFields(r.GetCredentialTtl(), time.Second, 0) {
			fields = append(fields, fault.Field{Path: "credential_ttl", Problem: f.Problem})
		}
	}
	return ttl, fault.InvalidFields("request for a host token", fields)
}

// JoinHost redeems a token. What redeems it is making the credential, whose id is the token's: the store lets exactly one of
// all replicas do that, and a token is used up only together with the credential that it was for.
func (s *Service) JoinHost(ctx context.Context, r *identitypb.JoinHostRequest) (*identitypb.JoinHostResponse, error) {
	record, key, id, err := s.verifyHostToken(ctx, r.GetToken())
	if err != nil {
		return nil, err
	}
	set, err := s.anchors()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	credential := &identitypb.AdminToken{
		Id: id, Description: "host " + record.GetScope().GetHost(), CreateTime: timestamppb.New(now),
		ExpireTime: timestampOrNil(now, record.GetCredentialTtl()), Host: record.GetScope(),
	}
	secret, err := s.adminTokens.createAs(ctx, id, credential)
	switch {
	case errors.Is(err, kv.ErrConflict):
		return nil, usedHostFault(id)
	case err != nil:
		return nil, storeFault(err, "store the host's credential")
	}
	if _, err := s.store.Delete(ctx, key, kv.Always()); err != nil && !lost(err) {
		s.log.Warn("redeemed host token is removed later", zap.String("token", id), zap.Error(err)) // it works no more: its credential is there
	}
	s.log.Info("host joined", zap.String("token", id), zap.String("host", record.GetScope().GetHost()))
	resp := &identitypb.JoinHostResponse{
		Scope: record.GetScope(), CredentialId: id, Secret: secret, ExpireTime: credential.GetExpireTime(),
		TrustDomain: s.trust.td.Name(), GatewayAddresses: s.gateways(),
	}
	for _, a := range set.roots {
		resp.X509Authorities = append(resp.X509Authorities, a.cert.Raw)
	}
	return resp, nil
}

// verifyHostToken finds the record of a token, or says why the token is worth nothing. It changes nothing.
func (s *Service) verifyHostToken(ctx context.Context, text string) (record *identitypb.HostTokenRecord, key, id string, err error) {
	token, err := jointoken.DecodeHost(text)
	if err != nil {
		return nil, "", "", fault.New(fault.Denied, "%v", err)
	}
	if token.TrustDomain != s.trust.td.Name() {
		return nil, "", "", fault.New(fault.Denied, "host token %q is for trust domain %q, this is %q", token.ID, token.TrustDomain, s.trust.td)
	}
	id = safeID(token.ID)
	key = recordKey(collectionHostTokens, id)
	record = &identitypb.HostTokenRecord{}
	_, err = readRecord(ctx, s.store, key, record)
	switch {
	case errors.Is(err, kv.ErrNotFound) && !token.Expired(time.Now()):
		return nil, "", "", usedHostFault(token.ID)
	case errors.Is(err, kv.ErrNotFound):
		return nil, "", "", expiredFault(token.ID, token.Expires)
	case err != nil:
		return nil, "", "", storeFault(err, fmt.Sprintf("read host token %q", token.ID))
	case !isSecret(record.GetSecretSha256(), token.Secret):
		return nil, "", "", fault.New(fault.Denied, "host token %q has a wrong secret: it was changed, or another control plane minted it", token.ID)
	case !time.Now().Before(record.GetExpireTime().AsTime()):
		return nil, "", "", expiredFault(token.ID, record.GetExpireTime().AsTime())
	}
	return record, key, id, nil
}

func usedHostFault(id string) error {
	return fault.New(fault.Denied, "host token %q has been used already, or this control plane never minted it: each token works once; ask for a new one, "+
		"and if you did not use it yourself, delete the credential of that id", id)
}

func (s *Service) sweepHostTokens(ctx context.Context, now time.Time) error {
	return sweepRecords(ctx, s.store, collectionHostTokens, &identitypb.HostTokenRecord{}, func(r *identitypb.HostTokenRecord, e kv.Entry) error {
		if now.Before(r.GetExpireTime().AsTime()) {
			return nil
		}
		_, err := s.store.Delete(ctx, e.Key, kv.IfRevision(e.Revision))
		return err
	})
}

// gateways are where people reach the mesh, without repetition.
func (s *Service) gateways() []string {
	if s.gateway == nil {
		return nil
	}
	return slices.Compact(slices.Sorted(slices.Values(s.gateway())))
}
