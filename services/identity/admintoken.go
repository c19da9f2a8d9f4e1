package identity

import (
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
)

// maxDescription bounds the description of a token.
const maxDescription = 256

// CreateAdminToken mints an administrator's token.
func (s *Service) CreateAdminToken(ctx context.Context, r *identitypb.CreateAdminTokenRequest) (*identitypb.CreateAdminTokenResponse, error) {
	var fields []fault.Field
	if d := r.GetDescription(); len(d) > maxDescription || !utf8.ValidString(d) {
		fields = append(fields, fault.Field{Path: "description", Problem: fmt.Sprintf("must be UTF-8 of at most %d bytes", maxDescription)})
	}
	if r.GetTtl() != nil {
		fields = append(fields, ttlFields(r.GetTtl(), time.Second, 0)...)
	}
	if err := fault.InvalidFields("request for an administrator's token", fields); err != nil {
		return nil, err
	}
	now := time.Now()
	token := &identitypb.AdminToken{
		Description: r.GetDescription(), CreateTime: timestamppb.New(now), ExpireTime: timestampOrNil(now, r.GetTtl()),
	}
	secret, err := s.adminTokens.create(ctx, token)
	if err != nil {
		return nil, err
	}
	s.log.Info("administrator's token minted", zap.String("token", token.GetId()), zap.String("principal", s.principal(ctx)))
	return &identitypb.CreateAdminTokenResponse{AdminToken: token, Secret: secret}, nil
}

// ListAdminTokens lists every token, those that have run out included until they are swept.
func (s *Service) ListAdminTokens(ctx context.Context, _ *identitypb.ListAdminTokensRequest) (*identitypb.ListAdminTokensResponse, error) {
	tokens, err := s.adminTokens.list(ctx)
	if err != nil {
		return nil, err
	}
	return &identitypb.ListAdminTokensResponse{AdminTokens: tokens}, nil
}

// DeleteAdminToken revokes a token. The last one that works stays, because nobody could mint another.
func (s *Service) DeleteAdminToken(ctx context.Context, r *identitypb.DeleteAdminTokenRequest) (*identitypb.DeleteAdminTokenResponse, error) {
	tokens, err := s.adminTokens.list(ctx)
	if err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(slices.Clone(tokens), func(t *identitypb.AdminToken) bool {
		return t.GetId() == r.GetId() || t.GetHost() != nil || expired(t, time.Now())
	})
	if len(others) == 0 && !isHost(tokens, r.GetId()) {
		return nil, fault.InvalidFields("request to delete an administrator's token", []fault.Field{
			{Path: "id", Problem: fmt.Sprintf("%q is the last token that works; mint another one first", r.GetId())},
		})
	}
	if err := s.adminTokens.remove(ctx, r.GetId()); err != nil {
		return nil, err
	}
	s.log.Info("administrator's token deleted", zap.String("token", r.GetId()), zap.String("principal", s.principal(ctx)))
	return &identitypb.DeleteAdminTokenResponse{}, nil
}

// isHost says that a token is a host's credential, which mints no others anyway.
func isHost(tokens []*identitypb.AdminToken, id string) bool {
	return slices.ContainsFunc(tokens, func(t *identitypb.AdminToken) bool { return t.GetId() == id && t.GetHost() != nil })
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

func (a adminTokens) list(ctx context.Context) ([]*identitypb.AdminToken, error) {
	entries, _, err := a.store.List(ctx, collectionAdminTokens)
	if err != nil {
		return nil, storeFault(err, "list administrators' tokens")
	}
	slices.SortFunc(entries, func(x, y kv.Entry) int { return int(x.Created - y.Created) })
	var tokens []*identitypb.AdminToken
	for _, entry := range entries {
		record := &identitypb.AdminTokenRecord{}
		if err := decodeRecord(entry, record); err != nil {
			return nil, err
		}
		if !record.GetDeleted() {
			tokens = append(tokens, record.GetAdminToken())
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
	return record.GetAdminToken(), nil
}

func expired(t *identitypb.AdminToken, now time.Time) bool {
	return t.GetExpireTime() != nil && !now.Before(t.GetExpireTime().AsTime())
}
