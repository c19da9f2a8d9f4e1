package gateway

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

const (
	// trustFor is how long a confirmed token is believed; a revoked one stops working everywhere within it.
	trustFor = 5 * time.Second
	// maxTokens bounds the cache.
	maxTokens = 1024
)

// authenticator turns bearer tokens into the ids of administrators. Only tokens that identity confirmed are remembered, by
// their hash.
type authenticator struct {
	dial Dial
	now  func() time.Time

	mu    sync.Mutex
	known map[[sha256.Size]byte]principal
}

type principal struct {
	id    string
	host  *identitypb.HostScope // what a host's credential is good for; nil for administrators
	until time.Time
}

func newAuthenticator(dial Dial, now func() time.Time) *authenticator {
	return &authenticator{dial: dial, now: now, known: map[[sha256.Size]byte]principal{}}
}

// principal is whose token a call came with.
func (a *authenticator) principal(ctx context.Context) (principal, error) {
	secret, err := bearer(metadata.ValueFromIncomingContext(ctx, "authorization"))
	if err != nil {
		return principal{}, err
	}
	hash := sha256.Sum256([]byte(secret))
	if p, ok := a.lookup(hash); ok {
		return p, nil
	}
	conn, err := a.dial(identity)
	if err != nil {
		return principal{}, fault.Wrap(fault.Unavailable, err, "service identity cannot be reached to check the bearer token")
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := identitypb.NewIdentityServiceClient(conn).AuthenticateToken(ctx, &identitypb.AuthenticateTokenRequest{Secret: secret})
	switch err = rpc.FaultOf(err); {
	case fault.Is(err, fault.Anonymous) || fault.Is(err, fault.Invalid):
		return principal{}, fault.New(fault.Anonymous, "the bearer token is not known, has expired or was revoked")
	case err != nil:
		return principal{}, fault.Wrap(fault.Unavailable, err, "the bearer token cannot be checked now")
	}
	a.remember(hash, resp.GetAdminToken())
	return principal{id: resp.GetAdminToken().GetId(), host: resp.GetAdminToken().GetHost()}, nil
}

// bearer takes the token out of the authorization header.
func bearer(values []string) (string, error) {
	if len(values) == 0 {
		return "", fault.New(fault.Anonymous, "a bearer token is needed in the authorization header")
	}
	scheme, secret, _ := strings.Cut(values[0], " ")
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(secret) == "" {
		return "", fault.New(fault.Anonymous, "the authorization header must be \"Bearer\" and one token")
	}
	return strings.TrimSpace(secret), nil
}

func (a *authenticator) lookup(hash [sha256.Size]byte) (principal, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, ok := a.known[hash]
	return p, ok && a.now().Before(p.until)
}

func (a *authenticator) remember(hash [sha256.Size]byte, token *identitypb.AdminToken) {
	now := a.now()
	until := now.Add(trustFor)
	if token.GetExpireTime() != nil && token.GetExpireTime().AsTime().Before(until) {
		until = token.GetExpireTime().AsTime()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known) >= maxTokens {
		for h, p := range a.known {
			if !now.Before(p.until) {
				delete(a.known, h)
			}
		}
	}
	if len(a.known) < maxTokens {
		a.known[hash] = principal{id: token.GetId(), host: token.GetHost(), until: until}
	}
}
