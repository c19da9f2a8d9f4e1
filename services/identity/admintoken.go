package identity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"
	"google.golang.org/protobuf/types/known/timestamppb"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/listing"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
)

// maxDescription bounds the description of a token.
const maxDescription = 256

// CreateAdminToken mints a token with a role; one that names none is an administrator's.
func (s *Service) CreateAdminToken(ctx context.Context, r *identitypb.CreateAdminTokenRequest) (*identitypb.CreateAdminTokenResponse, error) {
	var fields []fault.Field
	if d := r.GetDescription(); len(d) > maxDescription || !utf8.ValidString(d) {
		fields = append(fields, fault.Field{Path: "description", Problem: fmt.Sprintf("must be UTF-8 of at most %d bytes", maxDescription)})
	}
	if r.GetTtl() != nil {
		fields = append(fields, ttlFields(r.GetTtl(), time.Second, 0)...)
	}
	grant := model.Grant{Role: model.RoleAdministrator}
	if r.GetGrant() != nil {
		var broken []fault.Field
		grant, broken = judgeGrant(r.GetGrant())
		fields = append(fields, broken...)
	}
	if err := fault.InvalidFields("request for a token", fields); err != nil {
		return nil, err
	}
	now := time.Now()
	token := &identitypb.AdminToken{
		Description: r.GetDescription(), CreateTime: timestamppb.New(now), ExpireTime: timestampOrNil(now, r.GetTtl()),
		Grant: modelpb.GrantToProto(grant),
	}
	secret, err := s.adminTokens.create(ctx, token)
	if err != nil {
		return nil, err
	}
	s.log.Info("token minted", zap.String("token", token.GetId()), zap.Stringer("role", grant.Role),
		zap.Strings("namespaces", grant.Namespaces), zap.String("principal", s.principal(ctx)))
	return &identitypb.CreateAdminTokenResponse{AdminToken: token, Secret: secret}, nil
}

// judgeGrant reads a grant of a request and lists what is wrong with it.
func judgeGrant(p *identitypb.Grant) (model.Grant, []fault.Field) {
	grant, err := modelpb.GrantFromProto(p)
	var fields []fault.Field
	var f *fault.Error
	if errors.As(err, &f) {
		for _, field := range f.Fields {
			fields = append(fields, fault.Field{Path: "grant." + field.Path, Problem: field.Problem})
		}
		return grant, fields
	}
	for _, v := range grant.Validate("grant.") {
		fields = append(fields, fault.Field(v))
	}
	return grant, fields
}

// ListAdminTokens lists a page of tokens, those that have run out included until they are swept.
func (s *Service) ListAdminTokens(ctx context.Context, r *identitypb.ListAdminTokensRequest) (*identitypb.ListAdminTokensResponse, error) {
	kind := &identitypb.AdminToken{}
	filter, err := listing.NewFilter(r.GetFilter(), kind)
	if err != nil {
		return nil, err
	}
	mask, err := listing.NewReadMask(r.GetReadMask(), kind)
	if err != nil {
		return nil, err
	}
	all, err := s.adminTokens.list(ctx)
	if err != nil {
		return nil, err
	}
	page, next, err := listing.Cut(ctx, all, listedToken.key,
		func(t listedToken) (bool, error) { return filter.Match(ctx, t.AdminToken) },
		listing.Page{Size: r.GetPageSize(), Token: r.GetPageToken(), Query: []string{"AdminToken", r.GetFilter()}, Epoch: s.store.Epoch})
	if err != nil {
		return nil, err
	}
	out := &identitypb.ListAdminTokensResponse{NextPageToken: next}
	for _, t := range page {
		mask.Apply(t.AdminToken)
		out.AdminTokens = append(out.AdminTokens, t.AdminToken)
	}
	return out, nil
}

// DeleteAdminToken revokes a token. The last administrator's that works stays, because nobody could mint another.
func (s *Service) DeleteAdminToken(ctx context.Context, r *identitypb.DeleteAdminTokenRequest) (*identitypb.DeleteAdminTokenResponse, error) {
	tokens, err := s.adminTokens.list(ctx)
	if err != nil {
		return nil, err
	}
	now, last, others := time.Now(), false, false
	for _, t := range tokens {
		if administrates(t.AdminToken) && !expired(t.AdminToken, now) {
			last = last || t.GetId() == r.GetId()
			others = others || t.GetId() != r.GetId()
		}
	}
	if last && !others {
		return nil, fault.InvalidFields("request to delete a token", []fault.Field{
			{Path: "id", Problem: fmt.Sprintf("%q is the last administrator's token that works; mint another one first", r.GetId())},
		})
	}
	if err := s.adminTokens.remove(ctx, r.GetId()); err != nil {
		return nil, err
	}
	s.log.Info("token deleted", zap.String("token", r.GetId()), zap.String("principal", s.principal(ctx)))
	return &identitypb.DeleteAdminTokenResponse{}, nil
}

// administrates says whether a token is an administrator's. Records from before there were roles are; a host's credential never is.
func administrates(t *identitypb.AdminToken) bool {
	return t.GetHost() == nil && (t.GetGrant() == nil || t.GetGrant().GetRole() == identitypb.Role_ROLE_ADMINISTRATOR)
}

// AuthenticateToken says whose token it is. It reads the store each time, so that a deleted token stops working at once.
func (s *Service) AuthenticateToken(ctx context.Context, r *identitypb.AuthenticateTokenRequest) (*identitypb.AuthenticateTokenResponse, error) {
	token, err := s.adminTokens.authenticate(ctx, r.GetSecret())
	if err != nil {
		return nil, err
	}
	return &identitypb.AuthenticateTokenResponse{AdminToken: token}, nil
}

// adminPrefix tells people and secret scanners what the text is.
const adminPrefix = "weft-admin."

// firstID is the token that is made when a store is first used.
const firstID = "first"

// adminTokens keeps the tokens of administrators: "weft-admin.<id>.<secret>".
type adminTokens struct {
	store kv.Store
}

func (a adminTokens) create(ctx context.Context, token *identitypb.AdminToken) (secret string, err error) {
	id, _, err := newSecret()
	if err != nil {
		return "", err
	}
	if secret, err = a.createAs(ctx, id, token); err != nil {
		return "", storeFault(err, "store administrator's token")
	}
	return secret, nil
}

// createAs makes a token of a given id. Errors of the store pass as they are: kv.ErrConflict when there is one already.
func (a adminTokens) createAs(ctx context.Context, id string, token *identitypb.AdminToken) (secret string, err error) {
	_, random, err := newSecret()
	if err != nil {
		return "", err
	}
	token.Id = id
	secret = adminPrefix + id + "." + random
	record := &identitypb.AdminTokenRecord{AdminToken: token, SecretSha256: hashSecret(secret)}
	if _, err := writeRecord(ctx, a.store, recordKey(collectionAdminTokens, id), record, kv.IfAbsent()); err != nil {
		return "", err
	}
	return secret, nil
}

// listedToken is a token with the revision at which it was made, which orders them.
type listedToken struct {
	*identitypb.AdminToken
	created int64
}

func (t listedToken) key() string { return fmt.Sprintf("%020d", t.created) }

// list reads all tokens in order of creation. Those from before there were roles are shown as what they are.
func (a adminTokens) list(ctx context.Context) ([]listedToken, error) {
	entries, _, err := a.store.List(ctx, collectionAdminTokens)
	if err != nil {
		return nil, storeFault(err, "list administrators' tokens")
	}
	slices.SortFunc(entries, func(x, y kv.Entry) int { return cmp.Compare(x.Created, y.Created) })
	var tokens []listedToken
	for _, entry := range entries {
		record := &identitypb.AdminTokenRecord{}
		if err := decodeRecord(entry, record); err != nil {
			return nil, err
		}
		if !record.GetDeleted() {
			tokens = append(tokens, listedToken{withGrant(record.GetAdminToken()), entry.Created})
		}
	}
	return tokens, nil
}

// remove deletes a token. The record of the first one stays without its secret, so that no restart makes it again.
func (a adminTokens) remove(ctx context.Context, id string) error {
	missing := fault.New(fault.NotFound, "there is no administrator's token %q", id)
	if id != firstID && safeID(id) != id {
		return missing
	}
	record := &identitypb.AdminTokenRecord{}
	key := recordKey(collectionAdminTokens, id)
	entry, err := readRecord(ctx, a.store, key, record)
	switch {
	case errors.Is(err, kv.ErrNotFound) || err == nil && record.GetDeleted():
		return missing
	case err != nil:
		return storeFault(err, fmt.Sprintf("read administrator's token %q", id))
	case id == firstID:
		_, err = writeRecord(ctx, a.store, key, &identitypb.AdminTokenRecord{Deleted: true}, kv.IfRevision(entry.Revision))
	default:
		_, err = a.store.Delete(ctx, key, kv.IfRevision(entry.Revision))
	}
	if err != nil && lost(err) {
		return missing
	}
	if err != nil {
		return storeFault(err, fmt.Sprintf("delete administrator's token %q", id))
	}
	return nil
}

// authenticate finds whom a secret belongs to. All refusals are worded alike: they tell a guesser nothing.
func (a adminTokens) authenticate(ctx context.Context, secret string) (*identitypb.AdminToken, error) {
	refused := fault.New(fault.Anonymous, "the bearer token is not one of an administrator, has expired, or was deleted")
	rest, ok := strings.CutPrefix(secret, adminPrefix)
	id, _, dotted := strings.Cut(rest, ".")
	if !ok || !dotted || id != firstID && safeID(id) != id {
		return nil, refused
	}
	record := &identitypb.AdminTokenRecord{}
	_, err := readRecord(ctx, a.store, recordKey(collectionAdminTokens, id), record)
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return nil, refused
	case err != nil:
		return nil, storeFault(err, "authenticate bearer token")
	case record.GetDeleted() || !isSecret(record.GetSecretSha256(), secret) || expired(record.GetAdminToken(), time.Now()):
		return nil, refused
	}
	return withGrant(record.GetAdminToken()), nil
}

// withGrant says of a record from before there were roles what it is.
func withGrant(t *identitypb.AdminToken) *identitypb.AdminToken {
	if t != nil && t.GetGrant() == nil && t.GetHost() == nil {
		t.Grant = modelpb.GrantToProto(model.Grant{Role: model.RoleAdministrator})
	}
	return t
}

func expired(t *identitypb.AdminToken, now time.Time) bool {
	return t.GetExpireTime() != nil && !now.Before(t.GetExpireTime().AsTime())
}
