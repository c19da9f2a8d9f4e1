package adminhttp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// Config of an admin server.
type Config struct {
	// Log gets what net/http complains about.
	Log *zap.Logger
	// Ready says why the process cannot do its job, or nil.
	Ready func() error
	// Metrics is what /metrics shows.
	Metrics prometheus.Gatherer
	// Handlers are further pages by their net/http pattern, for example "GET /config_dump".
	Handlers map[string]http.Handler
}

// Server is an admin server.
type Server struct {
	log *zap.Logger
	mux *http.ServeMux
}

// New makes a server; it listens to nothing yet.
func New(cfg Config) *Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, cfg.Ready()) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Metrics, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /debug/pprof/", here(pprof.Index))
	mux.HandleFunc("GET /debug/pprof/cmdline", here(pprof.Cmdline))
	mux.HandleFunc("GET /debug/pprof/profile", here(pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/symbol", here(pprof.Symbol))
	mux.HandleFunc("GET /debug/pprof/trace", here(pprof.Trace))
	for pattern, h := range cfg.Handlers {
		mux.Handle(pattern, h)
	}
	return &Server{log: cfg.Log, mux: mux}
}

// here shows a page on loopback only: health and metrics are for the network's probes, while a profile costs CPU and tells
// much of what the process does.
func here(page http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok && !at.IP.IsLoopback() {
			http.Error(w, "profiles are shown on loopback only", http.StatusForbidden)
			return
		}
		page(w, r)
	}
}

func answer(w http.ResponseWriter, problem error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if problem != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, problem) // the reader has gone: nobody left to tell
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

// Handler is the pages without a listener.
func (s *Server) Handler() http.Handler { return s.mux }

// Serve answers on a listener, which it closes, until ctx ends. Pages that are still being written then get a second.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: s.mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: zap.NewStdLog(s.log)}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve admin pages on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		_ = server.Close() // a profile that runs for 30 s is not worth waiting for
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve admin pages on %s: %w", l.Addr(), err)
	}
	return nil
}
