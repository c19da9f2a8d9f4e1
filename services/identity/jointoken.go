package identity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/protobuf/types/known/timestamppb"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
)

// joinTokens mints and redeems join tokens. Any replica redeems what any replica has minted.
type joinTokens struct {
	store kv.Store
	td    spiffeid.TrustDomain
}

// claim is a token that was found to be good and is not redeemed yet.
type claim struct {
	id       string
	record   *identitypb.JoinTokenRecord
	revision int64
}

func (c claim) account() spiffe.Account {
	return spiffe.Account{Namespace: c.record.GetNamespace(), Name: c.record.GetAccount()}
}

// create stores what the holder of a new token may become, and returns its id and secret.
func (j joinTokens) create(ctx context.Context, record *identitypb.JoinTokenRecord) (id, secret string, err error) {
	if id, secret, err = newSecret(); err != nil {
		return "", "", err
	}
	record.SecretSha256 = hashSecret(secret)
	if _, err := writeRecord(ctx, j.store, recordKey(collectionJoinTokens, id), record, kv.IfAbsent()); err != nil {
		return "", "", storeFault(err, "store join token")
	}
	return id, secret, nil
}

// verify finds the record of a token, or says why the token is worth nothing. It changes nothing.
func (j joinTokens) verify(ctx context.Context, text string) (claim, error) {
	token, err := jointoken.Decode(text)
	if err != nil {
		return claim{}, fault.New(fault.Denied, "%v", err)
	}
	if token.TrustDomain != j.td.Name() {
		return claim{}, fault.New(fault.Denied, "join token %q is for trust domain %q, this is %q", token.ID, token.TrustDomain, j.td)
	}
	record := &identitypb.JoinTokenRecord{}
	entry, err := readRecord(ctx, j.store, recordKey(collectionJoinTokens, safeID(token.ID)), record)
	switch {
	case errors.Is(err, kv.ErrNotFound) && token.Expired(time.Now()):
		return claim{}, expiredFault(token.ID, token.Expires)
	case errors.Is(err, kv.ErrNotFound):
		return claim{}, usedFault(token.ID)
	case err != nil:
		return claim{}, storeFault(err, fmt.Sprintf("read join token %q", token.ID))
	case !isSecret(record.GetSecretSha256(), token.Secret):
		return claim{}, fault.New(fault.Denied, "join token %q has a wrong secret: it was changed, or another control plane minted it", token.ID)
	case !time.Now().Before(record.GetExpireTime().AsTime()):
		return claim{}, expiredFault(token.ID, record.GetExpireTime().AsTime())
	}
	return claim{id: token.ID, record: record, revision: entry.Revision}, nil
}

// redeem uses the token up. The store lets exactly one of all replicas delete that revision of the record.
func (j joinTokens) redeem(ctx context.Context, c claim) error {
	_, err := j.store.Delete(ctx, recordKey(collectionJoinTokens, c.id), kv.IfRevision(c.revision))
	if err != nil && lost(err) {
		return usedFault(c.id)
	}
	if err != nil {
		return storeFault(err, fmt.Sprintf("redeem join token %q", c.id))
	}
	return nil
}

func usedFault(id string) error {
	return fault.New(fault.Denied, "join token %q has been used already, or this control plane never minted it: each token works once; ask for a new one", id)
}

func expiredFault(id string, at time.Time) error {
	return fault.New(fault.Denied, "join token %q expired on %s; ask for a new one", id, at.UTC().Format(time.RFC3339))
}

// safeID keeps what a stranger calls an id from naming other keys than those of tokens.
func safeID(id string) string {
	if len(id) != 16 {
		return "-"
	}
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "-"
		}
	}
	return id
}

func newJoinTokenRecord(r *identitypb.CreateJoinTokenRequest, account spiffe.Account, principal string, ttl time.Duration) *identitypb.JoinTokenRecord {
	now := time.Now()
	return &identitypb.JoinTokenRecord{
		Namespace: account.Namespace, Account: account.Name, Services: r.GetServices(), Principal: principal,
		CreateTime: timestamppb.New(now), ExpireTime: timestamppb.New(now.Add(ttl).Truncate(time.Second)),
	}
}
