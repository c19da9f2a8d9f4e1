package adminhttp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zaptest"

	"github.com/weft-mesh/weft/internal/adminhttp"
)

func TestPages(t *testing.T) {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "weft_test_things_total", Help: "Things."})
	registry.MustRegister(counter)
	counter.Inc()
	var problem error
	s := adminhttp.New(adminhttp.Config{
		Log: zaptest.NewLogger(t), Ready: func() error { return problem }, Metrics: registry,
		Handlers: map[string]http.Handler{"GET /extra": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "more")
		})},
	})
	tests := []struct {
		name, path string
		problem    error
		status     int
		body       string
	}{
		{"healthy", "/healthz", nil, 200, "ok"},
		{"healthy although not ready", "/healthz", errors.New("no store"), 200, "ok"},
		{"ready", "/readyz", nil, 200, "ok"},
		{"not ready says why", "/readyz", errors.New("no store"), 503, "no store"},
		{"metrics", "/metrics", nil, 200, "weft_test_things_total 1"},
		{"pprof", "/debug/pprof/cmdline", nil, 200, ""},
		{"extra page", "/extra", nil, 200, "more"},
		{"nothing else", "/config", nil, 404, ""},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			problem = tc.problem
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, tc.path, http.NoBody))
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.body) {
				t.Errorf("GET %s = %d %q, want %d with %q", tc.path, w.Code, w.Body, tc.status, tc.body)
			}
		})
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	s := adminhttp.New(adminhttp.Config{Log: zaptest.NewLogger(t), Ready: func() error { return nil }, Metrics: prometheus.NewRegistry()})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+"/healthz", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
}

// A process that listens on the network shows it its health and its metrics, and no profiles.
func TestProfilesAreForThisMachine(t *testing.T) {
	s := adminhttp.New(adminhttp.Config{Log: zaptest.NewLogger(t), Ready: func() error { return nil }, Metrics: prometheus.NewRegistry()})
	for _, tc := range []struct {
		at, path string
		status   int
	}{
		{"10.0.0.1", "/debug/pprof/cmdline", http.StatusForbidden},
		{"fd00::1", "/debug/pprof/", http.StatusForbidden},
		{"10.0.0.1", "/metrics", http.StatusOK},
		{"127.0.0.1", "/debug/pprof/cmdline", http.StatusOK},
		{"::1", "/debug/pprof/cmdline", http.StatusOK},
	} {
		ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(tc.at), Port: 9811})
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, tc.path, http.NoBody))
		if w.Code != tc.status {
			t.Errorf("%s at %s: status %d, want %d", tc.path, tc.at, w.Code, tc.status)
		}
	}
}
