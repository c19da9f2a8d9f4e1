package authz_test

import (
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/match"
	"github.com/weft-mesh/weft/proxy/internal/authz"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

type request struct{ method, path string }

func (r *request) Method() []byte               { return []byte(r.method) }
func (r *request) Path() []byte                 { return []byte(r.path) }
func (r *request) Header(string) ([]byte, bool) { return nil, false }
func (r *request) Target() []byte               { return []byte(r.path) }
func (r *request) Authority() []byte            { return nil }
func (r *request) Idempotent() bool             { return r.method == "GET" }

func TestID7_CheckDecidesByIdentity(t *testing.T) {
	web := spiffeid.RequireFromString("spiffe://weft.local/ns/default/sa/web")
	webber := spiffeid.RequireFromString("spiffe://weft.local/ns/default-2/sa/web")
	batch := spiffeid.RequireFromString("spiffe://weft.local/ns/jobs/sa/batch")
	rules := &table.Access{Rules: []table.AccessRule{
		{Name: "nobody"},
		{Name: "get", IDs: map[spiffeid.ID]struct{}{web: {}}, Matches: []match.HTTP{
			{Methods: []string{"GET"}, Path: match.PathPrefix("/ratings")},
		}},
		{Name: "jobs", IDPrefixes: []string{"spiffe://weft.local/ns/jobs/"}},
		{Name: "broken", IDPrefixes: []string{"spiffe://weft.local/ns/default"}},
	}}
	get := &request{"GET", "/ratings/1"}
	for _, tc := range []struct {
		name   string
		access *table.Access
		peer   spiffeid.ID
		req    flow.Request
		rule   string
		ok     bool
	}{
		{"never configured denies", nil, web, get, "", false},
		{"no rules deny", &table.Access{}, web, get, "", false},
		{"open allows", &table.Access{Open: true}, web, get, "", true},
		{"open allows who is not authenticated", &table.Access{Open: true}, spiffeid.ID{}, get, "", true},
		{"exact identity and match", rules, web, get, "get", true},
		{"other method", rules, web, &request{"POST", "/ratings/1"}, "", false},
		{"other path", rules, web, &request{"GET", "/ratingsx"}, "", false},
		{"namespace", rules, batch, &request{"POST", "/"}, "jobs", true},
		{"a prefix must end a segment", rules, webber, get, "", false},
		{"not authenticated", rules, spiffeid.ID{}, get, "", false},
		{"TCP fits no rule with matches", rules, web, nil, "", false},
		{"TCP fits a rule without matches", rules, batch, nil, "jobs", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rule, ok := authz.Check(tc.access, tc.peer, tc.req)
			if rule != tc.rule || ok != tc.ok {
				t.Errorf("Check = %q, %v; want %q, %v", rule, ok, tc.rule, tc.ok)
			}
		})
	}
	if n := testing.AllocsPerRun(100, func() { authz.Check(rules, batch, nil) }); n != 0 {
		t.Errorf("Check allocates %v times", n)
	}
}
