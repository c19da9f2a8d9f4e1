package gateway

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
)

// send makes a REST request with headers.
func (r *rig) send(t *testing.T, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.rest+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer good")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp, text.String()
}

type auditEvent struct {
	RequestID  string `json:"requestId"`
	Principal  string
	Credential string
	Role       string
	Method     string
	Objects    []struct{ Kind, Namespace, Name, Etag string }
	Address    string
	Code       string
	Message    string
	Revisions  []struct{ Source, Seq string }

	RepeatedAnswer bool
}

// events reads the audit log as a caller sees it.
func (r *rig) events(t *testing.T, who, query string) []auditEvent {
	t.Helper()
	var page struct{ Events []auditEvent }
	resp := r.callAs(t, "Bearer "+who, http.MethodGet, "/v1alpha1/auditevents"+query, "", &page)
	if resp.StatusCode != 200 {
		t.Fatalf("audit events: %d", resp.StatusCode)
	}
	return page.Events
}

func TestChangesAndRefusalsAreAudited(t *testing.T) {
	r := newCrowd(t)
	r.send(t, "POST", "/v1alpha1/namespaces/shop/routes", strings.Replace(someRoute, `"r"`, `"r2"`, 1), "X-Request-Id", "id-1", "Authorization", "Bearer shop-operator")
	r.send(t, "DELETE", "/v1alpha1/namespaces/bank/routes/r", "", "X-Request-Id", "id-2", "Authorization", "Bearer shop-operator")
	r.send(t, "GET", "/v1alpha1/namespaces/bank/routes/r", "", "X-Request-Id", "id-3", "Authorization", "Bearer shop-operator")
	r.send(t, "DELETE", "/v1alpha1/namespaces/bank/routes/r", "", "X-Request-Id", "id-4", "Authorization", "Bearer guess")
	r.send(t, "GET", "/v1alpha1/routes", "", "X-Request-Id", "never")
	r.send(t, "POST", "/v1alpha1/namespaces/shop/routes?validateOnly=true", strings.Replace(someRoute, `"r"`, `"r3"`, 1), "X-Request-Id", "never")
	r.send(t, "POST", "/v1alpha1/admintokens", `{"description":"ci"}`, "X-Request-Id", "id-5")
	r.send(t, "POST", "/v1alpha1/namespaces/shop/routes", `{"metadata":{"name":"BAD"}}`, "X-Request-Id", "id-6")
	all := r.events(t, "good", "")
	byID := map[string]auditEvent{}
	for _, e := range all {
		byID[e.RequestID] = e
	}
	made := byID["id-1"]
	if made.Principal != "shop-operator" || made.Credential != "CREDENTIAL_TOKEN" || made.Role != "ROLE_OPERATOR" || made.Code != "OK" ||
		made.Method != "/weft.policy.v1alpha1.PolicyService/CreateRoute" || made.Address != "127.0.0.1" {
		t.Errorf("event of a change: %+v", made)
	}
	if len(made.Objects) != 1 || made.Objects[0].Kind != "Route" || made.Objects[0].Namespace != "shop" || made.Objects[0].Name != "r2" || made.Objects[0].Etag == "" {
		t.Errorf("objects %+v", made.Objects)
	}
	if len(made.Revisions) != 1 || made.Revisions[0].Source != "SOURCE_POLICY" {
		t.Errorf("revisions %+v", made.Revisions)
	}
	for id, code := range map[string]string{"id-2": "PermissionDenied", "id-3": "PermissionDenied", "id-4": "Unauthenticated", "id-5": "OK", "id-6": "InvalidArgument"} {
		if byID[id].Code != code {
			t.Errorf("%s: %+v, want %s", id, byID[id], code)
		}
	}
	if byID["id-2"].Role != "ROLE_UNSPECIFIED" || byID["id-4"].Principal != "" || byID["id-5"].Objects[0].Name != "4711" || byID["id-5"].Message != "viewer of shop" {
		t.Errorf("refused %+v, unknown %+v, token %+v", byID["id-2"], byID["id-4"], byID["id-5"])
	}
	if _, ok := byID["never"]; ok {
		t.Error("what changes nothing is there")
	}
	entries, _, err := r.store.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(string(e.Value), "SECRET") || strings.Contains(string(e.Value), "Bearer") {
			t.Errorf("%s holds a secret", e.Key)
		}
	}
	// Each sees what is about their namespaces.
	for _, e := range r.events(t, "shop-viewer", "") {
		if len(e.Objects) != 1 || e.Objects[0].Namespace != "shop" {
			t.Errorf("a viewer of shop sees %+v", e)
		}
	}
	if got := r.events(t, "good", "?filter.principal=shop-operator&filter.failed=true"); len(got) != 2 {
		t.Errorf("failures of shop-operator: %+v", got)
	}
}

func TestAuditIsTailed(t *testing.T) {
	r := newCrowd(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.rest+"/v1alpha1/auditevents:watch?filter.namespace=shop&filter.since=2026-01-01T00:00:00Z", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer shop-viewer")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	next := func() (e auditEvent) {
		line, err := lines.ReadBytes('\n')
		var got struct{ Result struct{ Event auditEvent } }
		if err != nil || json.Unmarshal(line, &got) != nil {
			t.Fatalf("line %s, %v", line, err)
		}
		return got.Result.Event
	}
	if past := next(); past.Objects[0].Namespace != "shop" || past.Code != "OK" {
		t.Errorf("the past: %+v", past)
	}
	r.send(t, "DELETE", "/v1alpha1/namespaces/bank/routes/r", "")
	r.send(t, "DELETE", "/v1alpha1/namespaces/shop/routes/r", "", "X-Request-Id", "seen")
	if got := next(); got.RequestID != "seen" {
		t.Errorf("what happened: %+v", got)
	}
}

func TestTooManyCallsAreToldWhenToTryAgain(t *testing.T) {
	r := newCrowd(t, func(c *Config) { c.Limits.Rate, c.Limits.Burst = 0.25, 5 })
	var last *http.Response
	var text string
	for range 6 {
		last, text = r.send(t, "GET", "/v1alpha1/whoami", "", "Authorization", "Bearer viewer")
	}
	if last.StatusCode != 429 || last.Header.Get("Retry-After") != "4" || !strings.Contains(text, "gateway-rate") {
		t.Errorf("status %d, Retry-After %q, %s", last.StatusCode, last.Header.Get("Retry-After"), text)
	}
	if resp, text := r.send(t, "GET", "/v1alpha1/whoami", "", "Authorization", "Bearer operator"); resp.StatusCode != 200 {
		t.Errorf("another caller: %d %s", resp.StatusCode, text)
	}
	conn, _ := r.conn(t)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer viewer")
	if _, err := adminpb.NewAdminServiceClient(conn).WhoAmI(ctx, &adminpb.WhoAmIRequest{}); status.Code(err) != codes.ResourceExhausted || len(status.Convert(err).Details()) != 1 {
		t.Errorf("over gRPC: %v", err)
	}
}

func TestGuessingTokensIsSlow(t *testing.T) {
	r := newCrowd(t)
	var last *http.Response
	for range 25 {
		last, _ = r.send(t, "GET", "/v1alpha1/whoami", "", "Authorization", "Bearer guess")
	}
	if last.StatusCode != 429 {
		t.Errorf("the 25th guess: %d", last.StatusCode)
	}
	r.identity.mu.Lock()
	defer r.identity.mu.Unlock()
	if r.identity.asked > 22 { // one for the crowd's own token
		t.Errorf("identity was asked %d times", r.identity.asked)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	r := newCrowd(t, func(c *Config) { c.Limits.Body = 2048 })
	large := `{"metadata":{"name":"` + strings.Repeat("x", 4096) + `"}}`
	if resp, text := r.send(t, "POST", "/v1alpha1/namespaces/shop/routes", large); resp.StatusCode != 413 || !strings.Contains(text, "gateway-max-body") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.rest+"/v1alpha1/namespaces/shop/routes", struct{ *strings.Reader }{strings.NewReader(large)})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = -1 // chunked: nobody says how much comes
	req.Header.Set("Authorization", "Bearer good")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("chunked: %d", resp.StatusCode)
	}
	conn, ctx := r.conn(t)
	_, err = adminpb.NewAdminServiceClient(conn).Apply(ctx, &adminpb.ApplyRequest{Manifests: large})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("over gRPC: %v", err)
	}
}

func TestIdempotencyKeys(t *testing.T) {
	r := newCrowd(t)
	const path = "/v1alpha1/namespaces/shop/routes"
	body := strings.Replace(someRoute, `"r"`, `"r2"`, 1)
	first, one := r.send(t, "POST", path, body, "Idempotency-Key", "k1")
	again, two := r.send(t, "POST", path, body, "Idempotency-Key", "k1")
	var a, b any
	if json.Unmarshal([]byte(one), &a) != nil || json.Unmarshal([]byte(two), &b) != nil || first.StatusCode != 200 || again.StatusCode != 200 {
		t.Fatalf("%d %s, then %d %s", first.StatusCode, one, again.StatusCode, two)
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	if !bytes.Equal(x, y) {
		t.Errorf("answers differ: %s and %s", x, y)
	}
	if resp, _ := r.send(t, "POST", path, body); resp.StatusCode != 409 {
		t.Errorf("without the key it is a call of its own: %d", resp.StatusCode)
	}
	resp, text := r.send(t, "POST", path, strings.Replace(someRoute, `"r"`, `"r3"`, 1), "Idempotency-Key", "k1")
	if resp.StatusCode != 400 || !strings.Contains(text, `"field":"idempotency-key"`) {
		t.Errorf("another request with the key: %d %s", resp.StatusCode, text)
	}
	if resp, _ := r.send(t, "POST", path, body, "Idempotency-Key", "k1", "Authorization", "Bearer shop-operator"); resp.StatusCode != 409 {
		t.Errorf("the same key of another caller: %d", resp.StatusCode)
	}
	for range 2 { // an answer that is an error is the answer too
		if resp, _ := r.send(t, "DELETE", path+"/nothing", "", "Idempotency-Key", "k2"); resp.StatusCode != 404 {
			t.Errorf("%d", resp.StatusCode)
		}
		if resp, text := r.send(t, "POST", "/v1alpha1/manifests:apply", `{"manifests":"apiVersion: weft.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {name: a}\nspec: {destination: {account: a}}"}`, "Idempotency-Key", "k3"); resp.StatusCode != 200 || !strings.Contains(text, "CREATED") {
			t.Errorf("apply: %d %s", resp.StatusCode, text)
		}
	}
	if resp, text := r.send(t, "POST", "/v1alpha1/admintokens", `{}`, "Idempotency-Key", "k4"); resp.StatusCode != 200 || !strings.Contains(text, "SECRET") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	if resp, text := r.send(t, "POST", "/v1alpha1/admintokens", `{}`, "Idempotency-Key", "k4"); resp.StatusCode != 409 || strings.Contains(text, "SECRET") || r.identity.minted != 1 {
		t.Errorf("a secret again: %d %s, %d minted", resp.StatusCode, text, r.identity.minted)
	}
	repeated := 0
	for _, e := range r.events(t, "good", "") {
		if e.RepeatedAnswer {
			repeated++
		}
	}
	if repeated != 3 {
		t.Errorf("%d events say that the answer was repeated, want 3", repeated)
	}
	conn, ctx := r.conn(t)
	ctx = metadata.AppendToOutgoingContext(ctx, "idempotency-key", "k5")
	for range 2 {
		var header metadata.MD
		_, err := policypb.NewPolicyServiceClient(conn).DeleteRoute(ctx, &policypb.DeleteRouteRequest{Namespace: "shop", Name: "r2"}, grpc.Header(&header))
		if err != nil || len(header.Get("x-request-id")) != 1 {
			t.Errorf("over gRPC: %v, header %v", err, header)
		}
	}
}

func TestHeadersCannotSayWhoCalls(t *testing.T) {
	r := newCrowd(t)
	resp, _ := r.send(t, "DELETE", "/v1alpha1/namespaces/bank/routes/r", "", "Authorization", "Bearer shop-operator", "X-Request-Id", "forged",
		"Grpc-Metadata-Weft-Principal", "ann", "Weft-Principal", "ann", "Grpc-Metadata-Weft-Rest-Address", "1.2.3.4", "Weft-Rest-Address", "1.2.3.4", "X-Forwarded-For", "1.2.3.4")
	if resp.StatusCode != 403 {
		t.Errorf("status %d", resp.StatusCode)
	}
	conn, _ := r.conn(t)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer shop-operator", "weft-rest-address", "1.2.3.4", "weft-principal", "ann", "x-request-id", "forged")
	_, err := policypb.NewPolicyServiceClient(conn).DeleteRoute(ctx, &policypb.DeleteRouteRequest{Namespace: "bank", Name: "r"})
	if status.Code(err) != codes.PermissionDenied {
		t.Error(err)
	}
	n := 0
	for _, e := range r.events(t, "good", "") {
		if e.RequestID == "forged" {
			n++
			if e.Address != "127.0.0.1" || e.Principal != "shop-operator" {
				t.Errorf("%+v", e)
			}
		}
	}
	if n != 2 {
		t.Errorf("%d events, want 2", n)
	}
}

// A client certificate with an SVID is a credential on both ports.
func TestClientCertificates(t *testing.T) {
	r := newRig(t, TLSOn)
	conf := spiffe.ClientTLS(r.source, spiffe.AnyMember(r.source)) // the rig's own SVID will do
	const id = "spiffe://weft.local/ns/weft-system/sa/gateway"
	conn, err := grpc.NewClient(r.grpc, grpc.WithTransportCredentials(credentials.NewTLS(conf)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf}}
	rest := func() int {
		resp, err := client.Get(strings.Replace(r.rest, "http://", "https://", 1) + "/v1alpha1/whoami")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	whoAmI := func() (*adminpb.WhoAmIResponse, error) {
		return adminpb.NewAdminServiceClient(conn).WhoAmI(t.Context(), &adminpb.WhoAmIRequest{})
	}
	if _, err := whoAmI(); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), id) || rest() != 403 {
		t.Errorf("without a binding: %v", err)
	}
	r.identity.bind("spiffe:"+id, identitypb.Role_ROLE_VIEWER)
	r.pass(5 * time.Second)
	got, err := whoAmI()
	if err != nil || got.GetPrincipal() != id || got.GetCredential() != adminpb.Credential_CREDENTIAL_SVID || rest() != 200 {
		t.Errorf("with a binding: %v, %v", got, err)
	}
	_, err = policypb.NewPolicyServiceClient(conn).DeleteRoute(t.Context(), &policypb.DeleteRouteRequest{Name: "r"})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("a viewer deletes: %v", err)
	}
}

// A stream ends when its caller is nobody any more, or is somebody else; it would go on for ever otherwise.
func TestOpenStreamsEndWithTheRolesOfTheirCallers(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*fakeIdentity)
		want   codes.Code
	}{
		"revoked":     {func(f *fakeIdentity) { f.revoked = true }, codes.Unauthenticated},
		"fewer roles": {func(f *fakeIdentity) { f.tokens["viewer"].Namespaces = []string{"shop"} }, codes.Unavailable},
	} {
		r := newCrowd(t)
		conn, _ := r.conn(t)
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer viewer")
		stream, err := policypb.NewPolicyServiceClient(conn).Watch(ctx, &policypb.WatchRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		r.identity.mu.Lock()
		test.change(r.identity)
		r.identity.mu.Unlock()
		r.pass(5 * time.Second)
		for err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

func TestGuessingHurtsNobodyWhoIsKnown(t *testing.T) {
	r := newCrowd(t)
	for range 25 {
		r.send(t, "GET", "/v1alpha1/whoami", "", "Authorization", "Bearer guess")
	}
	if resp, _ := r.send(t, "GET", "/v1alpha1/whoami", ""); resp.StatusCode != 200 {
		t.Errorf("from the same address, with a token that is known: %d", resp.StatusCode)
	}
}

// What one replica was asked and what it wrote down, every other one knows.
func TestReplicasShareKeysAndTheAuditLog(t *testing.T) {
	one := newCrowd(t)
	two := one.replica()
	body := strings.Replace(someRoute, `"r"`, `"r2"`, 1)
	for name, r := range map[string]*rig{"one": one, "two": two} {
		resp, text := r.send(t, "POST", "/v1alpha1/namespaces/shop/routes", body, "Idempotency-Key", "k", "X-Request-Id", name)
		if resp.StatusCode != 200 {
			t.Errorf("replica %s: %d %s", name, resp.StatusCode, text)
		}
	}
	for name, r := range map[string]*rig{"one": one, "two": two} {
		repeated, seen := 0, 0
		for _, e := range r.events(t, "good", "") {
			if e.RequestID == "one" || e.RequestID == "two" {
				seen++
				if e.RepeatedAnswer {
					repeated++
				}
			}
		}
		if seen != 2 || repeated != 1 {
			t.Errorf("replica %s shows %d events, %d of them repeated; want 2 and 1", name, seen, repeated)
		}
	}
}
