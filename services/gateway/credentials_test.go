package gateway_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/gateway"
	"github.com/weft-mesh/weft/services/gateway/credential/credentialtest"
)

// plane is a control plane whose gateway serves TLS and trusts an OIDC issuer.
type plane struct {
	ports  app.Ports
	admin  string
	issuer *credentialtest.Issuer
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{issuer: credentialtest.NewIssuer(t, time.Now)}
	p.ports, p.admin = startAll(t, func(s *app.Settings) {
		s.Listen.GatewayTLS = gateway.TLSOn
		s.Gateway.OIDCIssuer, s.Gateway.OIDCAudience = p.issuer.URL, "weft"
	})
	return p
}

// call makes a REST request, by a bearer token or a certificate, and wants a status.
func (p *plane) call(t *testing.T, bearer string, cert *tls.Certificate, method, path, body string, want int) string {
	t.Helper()
	conf := &tls.Config{InsecureSkipVerify: true} // what the gateway presents is another test's matter
	if cert != nil {
		conf.Certificates = []tls.Certificate{*cert}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), method, "https://"+p.ports[app.Gateway].REST+"/v1alpha1/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Errorf("%s %s: %d, want %d: %s, %v", method, path, resp.StatusCode, want, text, err)
	}
	return string(text)
}

// svid redeems a join token at the identity service, as a sidecar does.
func (p *plane) svid(t *testing.T, joinToken string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(p.ports[app.Identity].GRPC, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := identitypb.NewIdentityServiceClient(conn).IssueX509SVID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&identitypb.IssueX509SVIDRequest{Csr: csr, JoinToken: joinToken}); err != nil {
		t.Fatal(err)
	}
	resp, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: resp.GetCertificates(), PrivateKey: key}
}

const aRoute = `{"metadata":{"name":"r"},"spec":{"service":"shop","rules":[{"backends":[{"service":"shop"}]}]}}`

// A program that has an SVID calls with that, through the real services.
func TestAnSVIDIsACredential(t *testing.T) {
	p := newPlane(t)
	var join struct{ Token string }
	text := p.call(t, p.admin, nil, "POST", "jointokens", `{"namespace":"ci","account":"deployer"}`, 200)
	if err := json.Unmarshal([]byte(text), &join); err != nil {
		t.Fatal(err)
	}
	cert := p.svid(t, join.Token)
	const id = "spiffe://weft.local/ns/ci/sa/deployer"
	if text := p.call(t, "", cert, "GET", "whoami", "", 403); !strings.Contains(text, id) {
		t.Errorf("the refusal does not say who it is: %s", text)
	}
	p.call(t, p.admin, nil, "POST", "namespaces/default/rolebindings",
		`{"metadata":{"name":"deployer"},"spec":{"subject":{"spiffeId":"`+id+`"},"role":"ROLE_OPERATOR","namespaces":["shop"]}}`, 200)
	// What was found out a moment ago is believed for five seconds; another certificate of the same account is not known yet.
	text = p.call(t, p.admin, nil, "POST", "jointokens", `{"namespace":"ci","account":"deployer"}`, 200)
	if err := json.Unmarshal([]byte(text), &join); err != nil {
		t.Fatal(err)
	}
	cert = p.svid(t, join.Token)
	p.call(t, "", cert, "POST", "namespaces/shop/routes", aRoute, 200)
	p.call(t, "", cert, "POST", "namespaces/bank/routes", aRoute, 403)
	if text := p.call(t, p.admin, nil, "GET", "auditevents?filter.principal="+id, "", 200); !strings.Contains(text, "CREDENTIAL_SVID") {
		t.Errorf("audit: %s", text)
	}
}

// A person comes with a token of the company's issuer.
func TestATokenOfAnOIDCIssuerIsACredential(t *testing.T) {
	p := newPlane(t)
	p.call(t, p.admin, nil, "POST", "manifests:apply", mustJSON(t, map[string]string{"manifests": `
apiVersion: weft.dev/v1alpha1
kind: RoleBinding
metadata: {name: deployers}
spec: {subject: {oidcGroup: deployers}, role: operator, namespaces: [shop]}
`}), 200)
	good := p.issuer.Token(t, nil)
	if text := p.call(t, good, nil, "GET", "whoami", "", 200); !strings.Contains(text, "CREDENTIAL_OIDC") || !strings.Contains(text, "ROLE_OPERATOR") {
		t.Errorf("who am I: %s", text)
	}
	p.call(t, good, nil, "POST", "namespaces/shop/routes", aRoute, 200)
	p.call(t, good, nil, "POST", "namespaces/bank/routes", aRoute, 403)
	for want, claims := range map[string]map[string]any{
		"is for audience others": {"aud": "others"},
		"expired at":             {"exp": time.Now().Add(-time.Hour).Unix()},
		"is of issuer":           {"iss": "https://id.example.org"},
	} {
		if text := p.call(t, p.issuer.Token(t, claims), nil, "GET", "whoami", "", 401); !strings.Contains(text, want) {
			t.Errorf("refusal %s does not say %q", text, want)
		}
	}
	if text := p.call(t, p.issuer.Token(t, map[string]any{"groups": []string{"others"}}), nil, "GET", "whoami", "", 403); !strings.Contains(text, "u-17") {
		t.Errorf("without a binding: %s", text)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
