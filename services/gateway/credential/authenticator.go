package credential

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/gateway/access"
	"github.com/weft-mesh/weft/services/internal/fault"
)

const (
	// fresh is how long a confirmed credential is believed.
	fresh = 5 * time.Second
	// grace is how long it is believed by reads while identity cannot confirm it.
	grace = 10 * time.Minute
	// patience is how long a read waits for identity when it has something to fall back on.
	patience = time.Second
	// pause is how long reads do not ask again once identity has not answered.
	pause = 2 * time.Second
	// limit is how long a call waits for identity.
	limit = 15 * time.Second
	// maxKnown bounds what is remembered.
	maxKnown = 1024
)

// Deps are what an Authenticator needs.
type Deps struct {
	// Identity connects to the service that knows tokens and bindings.
	Identity func() (grpc.ClientConnInterface, error)
	// Trust verifies SVIDs.
	Trust *spiffe.Source
	// OIDC verifies tokens of another issuer; nil: there is none.
	OIDC *OIDC
	// Now is the clock.
	Now func() time.Time
}

// Authenticator turns what callers present into who they are. Safe for concurrent use.
type Authenticator struct {
	deps Deps

	mu    sync.Mutex
	known map[[sha256.Size]byte]confirmed
}

// confirmed is what identity said of a credential.
type confirmed struct {
	who access.Principal
	at  time.Time
	// ends is when the credential itself runs out; zero: never.
	ends time.Time
	// asked is when identity last did not answer.
	asked time.Time
}

// New makes an Authenticator.
func New(deps Deps) *Authenticator {
	return &Authenticator{deps: deps, known: map[[sha256.Size]byte]confirmed{}}
}

// Presented is what came with a call.
type Presented struct {
	// Authorization are the values of that header.
	Authorization []string
	// Certificates is the client's chain, leaf first; the handshake has verified it.
	Certificates []*x509.Certificate
}

// Authenticate says who presents a credential. A bearer token counts before a certificate: it is the one that the caller chose
// for this call. With reading the call changes nothing, so that what was confirmed earlier may do while identity is away.
func (a *Authenticator) Authenticate(ctx context.Context, p Presented, reading bool) (access.Principal, error) {
	name, check, err := a.choose(p)
	if err != nil {
		return access.Principal{}, err
	}
	hash, now := sha256.Sum256([]byte(name)), a.deps.Now()
	known, ok := a.lookup(hash, now)
	if ok && now.Before(known.at.Add(fresh)) {
		return known.who, nil
	}
	fallback := ok && reading && now.Before(known.at.Add(grace))
	if fallback && now.Before(known.asked.Add(pause)) {
		return known.who, nil
	}
	wait := limit
	if fallback {
		wait = patience
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	got, err := check(ctx)
	switch {
	case err == nil:
		got.at = now
		a.remember(hash, got)
		return got.who, nil
	case fault.Is(err, fault.Anonymous), fault.Is(err, fault.Denied):
		a.forget(hash)
		return access.Principal{}, err
	case fallback:
		known.asked = now
		a.remember(hash, known)
		return known.who, nil
	}
	return access.Principal{}, fault.Wrap(fault.Unavailable, err, "who calls cannot be found out now")
}

// Known says whether a credential was confirmed lately.
func (a *Authenticator) Known(p Presented) bool {
	name, _, err := a.choose(p)
	if err != nil {
		return false
	}
	now := a.deps.Now()
	c, ok := a.lookup(sha256.Sum256([]byte(name)), now)
	return ok && now.Before(c.at.Add(grace))
}

// check verifies one credential.
type check func(ctx context.Context) (confirmed, error)

// choose picks the credential that counts, and names it for the cache.
func (a *Authenticator) choose(p Presented) (name string, c check, err error) {
	if len(p.Authorization) == 0 && len(p.Certificates) > 0 {
		return "svid " + string(p.Certificates[0].Raw), func(ctx context.Context) (confirmed, error) { return a.svid(ctx, p.Certificates) }, nil
	}
	secret, err := bearer(p.Authorization)
	if err != nil {
		return "", nil, err
	}
	if strings.Count(secret, ".") == 2 && !strings.HasPrefix(secret, tokenPrefix) {
		return "oidc " + secret, func(ctx context.Context) (confirmed, error) { return a.oidc(ctx, secret) }, nil
	}
	return "token " + secret, func(ctx context.Context) (confirmed, error) { return a.token(ctx, secret) }, nil
}

// bearer takes the token out of the authorization header.
func bearer(values []string) (string, error) {
	if len(values) == 0 {
		return "", fault.New(fault.Anonymous, "a bearer token is needed in the authorization header, or a client certificate with an SVID")
	}
	scheme, secret, _ := strings.Cut(values[0], " ")
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(secret) == "" {
		return "", fault.New(fault.Anonymous, "the authorization header must be \"Bearer\" and one token")
	}
	return strings.TrimSpace(secret), nil
}

// lookup finds what is known of a credential that has not run out.
func (a *Authenticator) lookup(hash [sha256.Size]byte, now time.Time) (confirmed, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, ok := a.known[hash]
	return c, ok && (c.ends.IsZero() || now.Before(c.ends))
}

// remember keeps what was confirmed. When there is no room, what can do nobody a service any more goes first, then the oldest.
func (a *Authenticator) remember(hash [sha256.Size]byte, c confirmed) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.known[hash]; !ok && len(a.known) >= maxKnown {
		var oldest [sha256.Size]byte
		first := true
		for h, k := range a.known {
			if !c.at.Before(k.at.Add(grace)) {
				delete(a.known, h)
			} else if first || k.at.Before(a.known[oldest].at) {
				oldest, first = h, false
			}
		}
		if len(a.known) >= maxKnown {
			delete(a.known, oldest)
		}
	}
	a.known[hash] = c
}

func (a *Authenticator) forget(hash [sha256.Size]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.known, hash)
}

func (a *Authenticator) client() (identitypb.IdentityServiceClient, error) {
	conn, err := a.deps.Identity()
	if err != nil {
		return nil, fmt.Errorf("reach service identity: %w", err)
	}
	return identitypb.NewIdentityServiceClient(conn), nil
}
