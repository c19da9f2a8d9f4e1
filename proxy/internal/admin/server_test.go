package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap/zaptest"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

func handler(t *testing.T) http.Handler {
	calls := 0
	return New(nil, Deps{
		Started: func() error { return nil },
		Ready:   func() error { return errors.New("the app does not accept connections yet") },
		Metrics: http.NotFoundHandler(),
		Dump: func() Dump {
			return Dump{Namespace: "default", Resources: []*configpb.Resource{{Name: "mesh", Version: "1"}}, Refused: []*configpb.Nack{{Resource: "access"}}}
		},
		Deregister: func(context.Context) (*typepb.SourceRevision, error) {
			calls++
			switch calls {
			case 1:
				return &typepb.SourceRevision{Source: typepb.Source_SOURCE_DISCOVERY, Seq: 9}, nil
			case 2:
				return nil, nil
			default:
				return nil, errors.New("discovery is away")
			}
		},
		Log: zaptest.NewLogger(t),
	}).handler()
}

func do(h http.Handler, method, host, path string) (int, string) {
	r := httptest.NewRequest(method, path, nil)
	r.Host = host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestEndpoints(t *testing.T) {
	h := handler(t)
	tests := []struct {
		method, host, path string
		code               int
		body               string
	}{
		{"GET", "127.0.0.1:15020", "/healthz", 200, "ok"},
		{"GET", "[::1]:15020", "/startupz", 200, "ok"},
		{"GET", "localhost:15020", "/readyz", 503, "the app does not accept connections yet"},
		{"GET", "evil.example:15020", "/healthz", 403, "loopback"},
		{"POST", "evil.example", "/deregister", 403, "loopback"},
		{"GET", "127.0.0.1", "/deregister", 405, ""},
		{"POST", "127.0.0.1", "/deregister", 200, `"seq": "9"`},
		{"POST", "127.0.0.1", "/deregister", 200, `"revision": null`},
		{"POST", "127.0.0.1", "/deregister", 503, "discovery is away"},
		{"GET", "127.0.0.1", "/debug/pprof/", 200, "goroutine"},
	}
	for _, tt := range tests {
		code, body := do(h, tt.method, tt.host, tt.path)
		if compact := strings.ReplaceAll(body, `"seq":"9"`, `"seq": "9"`); code != tt.code || !strings.Contains(compact, tt.body) {
			t.Errorf("%s %s at %s: want %d with %q, got %d: %s", tt.method, tt.path, tt.host, tt.code, tt.body, code, body)
		}
	}
}

func TestDumpIsJSON(t *testing.T) {
	code, body := do(handler(t), "GET", "127.0.0.1", "/config_dump")
	var got struct {
		Namespace string
		Resources []map[string]any
		Refused   []map[string]any
		Applied   any
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != 200 {
		t.Fatalf("%d, %v: %s", code, err, body)
	}
	if got.Namespace != "default" || len(got.Resources) != 1 || got.Refused[0]["resource"] != "access" || got.Applied != nil {
		t.Errorf("dump: %+v", got)
	}
}
