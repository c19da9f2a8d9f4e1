package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/encoding/protojson"

	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/proxy/internal/flow"
)

const (
	headerTimeout   = 5 * time.Second
	shutdownTimeout = time.Second
)

// Deps is whom the server asks.
type Deps struct {
	// Started is nil once the sidecar has an identity and a first table.
	Started func() error
	// Ready is nil once it is started and its workload is registered, if it has a service.
	Ready func() error
	// Metrics serves /metrics.
	Metrics http.Handler
	// Dump says what is held.
	Dump func() Dump
	// Flows are what is under way.
	Flows func() []flow.Live
	// Deregister takes the workload out of the catalogue.
	Deregister func(context.Context) (*typepb.SourceRevision, error)
	// Log of this package.
	Log *zap.Logger
}

// Server serves the admin port.
type Server struct {
	deps     Deps
	listener net.Listener
}

// New makes a server on a loopback listener, which it closes when Run ends.
func New(listener net.Listener, deps Deps) *Server {
	return &Server{deps: deps, listener: listener}
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	srv := &http.Server{Handler: s.handler(), ReadHeaderTimeout: headerTimeout, ErrorLog: zap.NewStdLog(s.deps.Log)}
	stop := context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if srv.Shutdown(limit) != nil {
			srv.Close()
		}
	})
	defer stop()
	if err := srv.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve admin port: %w", err)
	}
	return nil
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /startupz", answer(s.deps.Started))
	mux.HandleFunc("GET /readyz", answer(s.deps.Ready))
	mux.Handle("GET /metrics", s.deps.Metrics)
	mux.HandleFunc("GET /config_dump", s.dump)
	mux.HandleFunc("POST /deregister", s.deregister)
	mux.HandleFunc("GET /debug/flows", s.flows)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	return loopbackOnly(mux)
}

// loopbackOnly refuses requests that name another host than this machine itself.
func loopbackOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		addr, err := netip.ParseAddr(host)
		if host != "localhost" && (err != nil || !addr.IsLoopback()) {
			http.Error(w, "the admin port answers to loopback addresses and localhost only", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func answer(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

// deregister answers with the revision at which the workload is gone, or null when it was not there.
func (s *Server) deregister(w http.ResponseWriter, r *http.Request) {
	revision, err := s.deps.Deregister(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	body := struct {
		Revision json.RawMessage `json:"revision"`
	}{}
	if revision != nil {
		if body.Revision, err = protojson.Marshal(revision); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	s.write(w, body)
}

func (s *Server) dump(w http.ResponseWriter, _ *http.Request) {
	view, err := s.deps.Dump().view()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.write(w, view)
}

func (s *Server) write(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(body); err != nil {
		s.deps.Log.Debug("admin response was not taken", zap.Error(err))
	}
}
