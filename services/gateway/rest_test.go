package gateway

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/gateway/access"
)

const someRoute = `{"metadata":{"name":"r"},"spec":{"service":"shop","rules":[{"backends":[{"service":"shop","weight":3}]}]}}`

func TestWhoIsLetIn(t *testing.T) {
	r := newRig(t, TLSAuto)
	for _, test := range []struct {
		name, authorization, path string
		want                      int
	}{
		{"no token", "", "/v1alpha1/routes", 401},
		{"other scheme", "Basic good", "/v1alpha1/routes", 401},
		{"unknown token", "Bearer bad", "/v1alpha1/routes", 401},
		{"no token for a stream", "", "/v1alpha1/policy:watch", 401},
		{"good token", "Bearer good", "/v1alpha1/routes", 200},
		{"public bundle", "", "/v1alpha1/bundle", 200},
		{"document", "", "/openapi.json", 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p problem
			resp := r.callAs(t, test.authorization, http.MethodGet, test.path, "", &p)
			if resp.StatusCode != test.want {
				t.Fatalf("status %d, want %d", resp.StatusCode, test.want)
			}
			if test.want != 401 {
				return
			}
			if got := resp.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") {
				t.Errorf("WWW-Authenticate is %q", got)
			}
			if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("Content-Type is %q", got)
			}
			if p.Status != 401 || p.Code != "Unauthenticated" || p.Instance != test.path || p.Detail == "" {
				t.Errorf("problem %+v", p)
			}
		})
	}
}

func TestRevokedTokenStopsWithinFiveSeconds(t *testing.T) {
	r := newRig(t, TLSAuto)
	get := func() int { return r.call(t, http.MethodGet, "/v1alpha1/routes", "", nil).StatusCode }
	if got := []int{get(), get(), get()}; !slices.Equal(got, []int{200, 200, 200}) {
		t.Fatalf("statuses %v", got)
	}
	r.identity.mu.Lock()
	if r.identity.asked != 1 {
		t.Errorf("identity was asked %d times about one token, want once", r.identity.asked)
	}
	r.identity.revoked = true
	r.identity.mu.Unlock()
	if got := get(); got != 200 {
		t.Errorf("status %d before the five seconds are over", got)
	}
	r.pass(5 * time.Second)
	if got := get(); got != 401 {
		t.Errorf("status %d after five seconds, want 401", got)
	}
	r.identity.mu.Lock()
	r.identity.down = true
	r.identity.mu.Unlock()
	if got := get(); got != 503 {
		t.Errorf("status %d while identity is down, want 503: nobody is let in unseen, and nobody is told to be unknown", got)
	}
}

func TestProblemsNameWhatIsWrong(t *testing.T) {
	r := newRig(t, TLSAuto)
	if resp := r.call(t, http.MethodPost, "/v1alpha1/namespaces/default/routes", someRoute, nil); resp.StatusCode != 200 {
		t.Fatalf("create: status %d", resp.StatusCode)
	}
	for _, test := range []struct {
		name, method, path, body string
		want                     int
		field, text              string
	}{
		{"negative weight", "POST", "/v1alpha1/namespaces/default/routes", strings.ReplaceAll(someRoute, `:3`, `:-3`), 400, "", "-3"},
		{"unknown field", "POST", "/v1alpha1/namespaces/default/routes", strings.ReplaceAll(someRoute, "weight", "wieght"), 400, "", "wieght"},
		{"bad expression", "POST", "/v1alpha1/namespaces/default/routes", `{"metadata":{"name":"x"},"spec":{"service":"shop","rules":[{"match":[{"path":{"regex":"("}}],"backends":[{"service":"shop"}]}]}}`, 400, "spec.rules[0].match[0].path.regex", ""},
		{"exists", "POST", "/v1alpha1/namespaces/default/routes", someRoute, 409, "", ""},
		{"stale etag", "PUT", "/v1alpha1/namespaces/default/routes/r", strings.Replace(someRoute, `"name":"r"`, `"name":"r","etag":"old"`, 1), 409, "", ""},
		{"missing", "GET", "/v1alpha1/namespaces/default/routes/nothing", "", 404, "", "default/nothing"},
		{"no such path", "GET", "/v1alpha1/nothing", "", 404, "", "openapi.json"},
		{"no such method", "DELETE", "/v1alpha1/routes", "", 405, "", ""},
		{"service that is down", "GET", "/v1alpha1/edges", "", 503, "", "telemetry"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p problem
			resp := r.call(t, test.method, test.path, test.body, &p)
			if resp.StatusCode != test.want || p.Status != test.want {
				t.Errorf("status %d, problem %+v, want %d", resp.StatusCode, p, test.want)
			}
			if p.Type == "" || p.Title == "" || !strings.Contains(p.Detail, test.text) {
				t.Errorf("problem %+v does not say %q", p, test.text)
			}
			if test.field != "" && !slices.ContainsFunc(p.Errors, func(f fieldProblem) bool { return f.Field == test.field && f.Message != "" }) {
				t.Errorf("errors %+v do not name %q", p.Errors, test.field)
			}
		})
	}
}

func TestRESTAndGRPCAreOneAPI(t *testing.T) {
	r := newRig(t, TLSAuto)
	r.call(t, http.MethodPost, "/v1alpha1/namespaces/shop/routes", someRoute, nil)
	conn, ctx := r.conn(t)
	got, err := policypb.NewPolicyServiceClient(conn).GetRoute(ctx, &policypb.GetRouteRequest{Namespace: "shop", Name: "r"})
	if err != nil {
		t.Fatal(err)
	}
	var viaREST struct {
		Route struct {
			Metadata struct{ Namespace, Etag, CreateTime string }
			Spec     struct{ Service string }
		}
	}
	r.call(t, http.MethodGet, "/v1alpha1/namespaces/shop/routes/r", "", &viaREST)
	want := []string{"shop", got.GetRoute().GetMetadata().GetEtag(), "shop"}
	m := viaREST.Route.Metadata
	if diff := cmp.Diff(want, []string{m.Namespace, m.Etag, viaREST.Route.Spec.Service}); diff != "" || m.CreateTime == "" {
		t.Errorf("%s, createTime %q", diff, m.CreateTime)
	}
}

func TestWhatIsNotOffered(t *testing.T) {
	r := newRig(t, TLSAuto)
	conn, ctx := r.conn(t)
	_, err := identitypb.NewIdentityServiceClient(conn).AuthenticateToken(ctx, &identitypb.AuthenticateTokenRequest{Secret: "good"})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("AuthenticateToken: %v", err)
	}
	_, err = policypb.NewPolicyServiceClient(conn).ListRoutes(t.Context(), &policypb.ListRoutesRequest{})
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("ListRoutes without a token: %v", err)
	}
	want := strings.NewReader(`
# HELP weft_gateway_calls_total Calls by method and gRPC status; REST requests are calls too.
# TYPE weft_gateway_calls_total counter
weft_gateway_calls_total{code="Unauthenticated",method="/weft.policy.v1alpha1.PolicyService/ListRoutes"} 1
weft_gateway_calls_total{code="Unimplemented",method="other"} 1
`)
	if err := testutil.GatherAndCompare(r.metrics, want, "weft_gateway_calls_total"); err != nil {
		t.Error(err)
	}
}

func TestStreamsAreLinesOfJSONUntilTheGatewayStops(t *testing.T) {
	r := newRig(t, TLSAuto)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.rest+"/v1alpha1/convergence:watch", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer good")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded") // as curl -d says
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	text, err := lines.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var line struct {
		Result struct {
			Convergence struct{ Affected, Applied int }
		}
	}
	if err := json.Unmarshal(text, &line); err != nil || line.Result.Convergence.Affected != 2 {
		t.Fatalf("first line %s: %v", text, err)
	}
	conn, ctx := r.conn(t)
	stream, err := configpb.NewConvergenceServiceClient(conn).WatchConvergence(ctx, &configpb.WatchConvergenceRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	r.stop()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("gRPC stream ended with %v, want Unavailable", err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.Contains(string(rest), "stopping") {
		t.Errorf("REST stream ended with %q, %v", rest, err)
	}
}

// The REST routes, the methods that are passed on and the OpenAPI document are one list.
func TestMethodsAreThoseOfTheRESTConfiguration(t *testing.T) {
	text, err := os.ReadFile("../../proto/gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var conf struct {
		HTTP struct {
			Rules []struct{ Selector string }
		} `yaml:"http"`
	}
	if err := yaml.Unmarshal(text, &conf); err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, rule := range conf.HTTP.Rules {
		i := strings.LastIndexByte(rule.Selector, '.')
		want = append(want, "/"+rule.Selector[:i]+"/"+rule.Selector[i+1:])
	}
	offered, err := methods()
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range offered {
		got = append(got, name)
		if m.rule == (access.Rule{}) || m.rule.Role == 0 {
			t.Errorf("nobody has said who may call %s", name)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOpenAPIDocument(t *testing.T) {
	r := newRig(t, TLSAuto)
	var doc struct {
		Info                struct{ Title string }
		Paths               map[string]any
		SecurityDefinitions map[string]any
	}
	r.callAs(t, "", http.MethodGet, "/openapi.json", "", &doc)
	if doc.Info.Title != "Weft" || doc.Paths["/v1alpha1/status"] == nil || doc.Paths["/v1alpha1/manifests:apply"] == nil || doc.SecurityDefinitions["token"] == nil {
		t.Errorf("document %+v", doc)
	}
}

func TestJoinTokenMakesItsServices(t *testing.T) {
	r := newRig(t, TLSAuto)
	r.catalogue.add("orders", "orders", "billing")
	create := func(body string) (int, problem) {
		var p problem
		resp := r.call(t, http.MethodPost, "/v1alpha1/jointokens", body, &p)
		return resp.StatusCode, p
	}
	if code, p := create(`{"account":"web","services":["web","orders"]}`); code != 400 || len(p.Errors) != 1 ||
		p.Errors[0].Field != "services[1]" || !strings.Contains(p.Errors[0].Message, `["orders" "billing"]`) {
		t.Errorf("status %d, problem %+v; want services[1] and the accounts that it allows", code, p)
	}
	if got := r.catalogue.accounts("web"); got != nil {
		t.Errorf("a refused token made service web for %q", got)
	}
	if code, p := create(`{"account":"web","services":["Not A Name"]}`); code != 400 || p.Errors[0].Field != "services[0]" {
		t.Errorf("status %d, problem %+v", code, p)
	}
	if code, p := create(`{"account":"billing","services":["invoices","orders"]}`); code != 200 {
		t.Fatalf("status %d, problem %+v", code, p)
	}
	if diff := cmp.Diff([]string{"billing"}, r.catalogue.accounts("invoices")); diff != "" {
		t.Error(diff)
	}
	if r.identity.principal != "ann" {
		t.Errorf("identity was told that %q asks, want ann", r.identity.principal)
	}
}

func TestUnknownFieldsPassThrough(t *testing.T) {
	r := newRig(t, TLSAuto)
	conn, ctx := r.conn(t)
	req := &discoverypb.CreateServiceRequest{Service: &discoverypb.Service{
		Metadata: &typepb.ObjectMeta{Name: "shop"}, Spec: &discoverypb.ServiceSpec{Accounts: []string{"shop"}},
	}}
	req.GetService().GetSpec().ProtoReflect().SetUnknown([]byte{0xa0, 0x06, 0x01}) // field 100 = 1
	resp, err := discoverypb.NewDiscoveryServiceClient(conn).CreateService(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.GetService().GetSpec().ProtoReflect().GetUnknown(); len(got) == 0 {
		t.Error("the gateway dropped a field that it does not know")
	}
}
