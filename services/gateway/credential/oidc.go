package credential

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/weft-mesh/weft/services/internal/fault"
)

// OIDCConfig says whose tokens are taken and what they must say.
type OIDCConfig struct {
	// Issuer is the URL of the issuer, as in its tokens' iss; empty: there is none.
	Issuer string
	// Audience that tokens must be for.
	Audience string
	// SubjectClaim and GroupsClaim name the claims that role bindings are matched with.
	SubjectClaim, GroupsClaim string
	// CAFile holds the authorities of the issuer's certificate as PEM; empty: the system's.
	CAFile string
}

// Validate reports all problems of the configuration.
func (c OIDCConfig) Validate() error {
	if c.Issuer == "" {
		if c.Audience != "" || c.CAFile != "" {
			return errors.New("oidc-audience and oidc-ca-file need an oidc-issuer")
		}
		return nil
	}
	var errs []error
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		errs = append(errs, fmt.Errorf("oidc-issuer is %q; it must be an https URL (http only on this machine's loopback)", c.Issuer))
	}
	if c.Audience == "" {
		errs = append(errs, errors.New("oidc-audience is empty; without one, tokens that the issuer made for others would be taken"))
	}
	if c.SubjectClaim == "" || c.GroupsClaim == "" {
		errs = append(errs, errors.New("oidc-subject-claim and oidc-groups-claim must not be empty"))
	}
	return errors.Join(errs...)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// OIDC verifies tokens of one issuer. It asks the issuer who it is when the first token comes, and for its keys when a token
// is signed by one that it does not have. Safe for concurrent use.
type OIDC struct {
	cfg  OIDCConfig
	http *http.Client
	now  func() time.Time

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
	failed   time.Time // when the issuer last could not be asked
	failure  error
}

// issuerTimeout bounds one request to the issuer.
const issuerTimeout = 5 * time.Second

// NewOIDC makes an OIDC; nil for a configuration without an issuer.
func NewOIDC(cfg OIDCConfig, now func() time.Time) (*OIDC, error) {
	if err := cfg.Validate(); err != nil || cfg.Issuer == "" {
		return nil, err
	}
	o := &OIDC{cfg: cfg, now: now, http: &http.Client{Timeout: issuerTimeout}}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("oidc-ca-file: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("oidc-ca-file %q holds no certificate", cfg.CAFile)
		}
		o.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, Proxy: http.ProxyFromEnvironment}
	}
	return o, nil
}

// Verify checks a token and takes from it whom role bindings may name.
func (o *OIDC) Verify(ctx context.Context, raw string) (Claims, error) {
	var unverified struct {
		Issuer string `json:"iss"`
	}
	if err := payload(raw, &unverified); err != nil {
		return Claims{}, fault.New(fault.Anonymous, "the bearer token is no token of this mesh, and no JSON web token either")
	}
	if unverified.Issuer != o.cfg.Issuer {
		return Claims{}, fault.New(fault.Anonymous, "the bearer token is of issuer %q; this gateway takes tokens of %q", unverified.Issuer, o.cfg.Issuer)
	}
	verifier, err := o.discover(ctx)
	if err != nil {
		return Claims{}, fault.Wrap(fault.Unavailable, err, "OIDC issuer %q cannot be asked, and the bearer token not be checked, now", o.cfg.Issuer)
	}
	token, err := verifier.Verify(oidc.ClientContext(ctx, o.http), raw)
	if err != nil {
		return Claims{}, o.refusal(err, raw)
	}
	return o.claims(token)
}

// refusal says why a token was not taken. Only what the token itself says is told, which its holder can read anyway.
func (o *OIDC) refusal(err error, raw string) error {
	var expired *oidc.TokenExpiredError
	var said struct {
		Audience any `json:"aud"`
	}
	switch {
	case errors.As(err, &expired):
		return fault.New(fault.Anonymous, "the bearer token of issuer %q expired at %s", o.cfg.Issuer, expired.Expiry.UTC().Format(time.RFC3339))
	case strings.Contains(err.Error(), "fetching keys"): // the library has no type for it
		return fault.Wrap(fault.Unavailable, err, "OIDC issuer %q does not give its keys, so the bearer token cannot be checked now", o.cfg.Issuer)
	case strings.Contains(err.Error(), "expected audience") && payload(raw, &said) == nil:
		return fault.New(fault.Anonymous, "the bearer token is for audience %v; this gateway is %q", said.Audience, o.cfg.Audience)
	}
	return fault.New(fault.Anonymous, "the bearer token of issuer %q is not good: %v", o.cfg.Issuer, err)
}

// discover makes the verifier once the issuer has said where its keys are. An issuer that does not answer is not asked again by
// every call.
func (o *OIDC) discover(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.verifier != nil {
		return o.verifier, nil
	}
	if o.failure != nil && o.now().Before(o.failed.Add(pause)) {
		return nil, o.failure
	}
	ctx, cancel := context.WithTimeout(ctx, issuerTimeout)
	defer cancel()
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, o.http), o.cfg.Issuer)
	if err != nil {
		o.failed, o.failure = o.now(), err
		return nil, err
	}
	o.failure = nil
	o.verifier = provider.Verifier(&oidc.Config{ClientID: o.cfg.Audience, Now: o.now})
	return o.verifier, nil
}

// claims takes the subject and the groups out of a verified token.
func (o *OIDC) claims(token *oidc.IDToken) (Claims, error) {
	var all map[string]any
	if err := token.Claims(&all); err != nil {
		return Claims{}, fault.Wrap(fault.Anonymous, err, "read the claims of the bearer token")
	}
	out := Claims{Expiry: token.Expiry}
	out.Subject, _ = all[o.cfg.SubjectClaim].(string)
	if out.Subject == "" {
		return Claims{}, fault.New(fault.Anonymous, "the bearer token has no claim %q, which this gateway takes for the subject", o.cfg.SubjectClaim)
	}
	// Who may choose his own address must not become somebody else by it.
	if verified, ok := all["email_verified"].(bool); ok && !verified && o.cfg.SubjectClaim == "email" {
		return Claims{}, fault.New(fault.Anonymous, "the bearer token says that its email address is not verified")
	}
	switch groups := all[o.cfg.GroupsClaim].(type) {
	case string:
		out.Groups = []string{groups}
	case []any:
		for _, g := range groups {
			if text, ok := g.(string); ok {
				out.Groups = append(out.Groups, text)
			}
		}
	}
	return out, nil
}

// payload decodes the middle part of a JSON web token, which nobody has verified yet.
func payload(raw string, into any) error {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return errors.New("not three parts")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
