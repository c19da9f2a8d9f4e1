package gateway

import (
	"fmt"
	"time"

	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/gateway/audit"
	"github.com/weft-mesh/weft/services/gateway/credential"
	"github.com/weft-mesh/weft/services/gateway/limit"
	"github.com/weft-mesh/weft/services/gateway/repeat"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// Build makes the gateway out of what the process lends.
func Build() app.Build {
	return app.Build{Name: app.Gateway, New: func(env *app.Env) (app.Service, error) {
		grpcPort, err := env.Listen(app.ListenGRPC)
		if err != nil {
			return nil, fmt.Errorf("gRPC port of the gateway: %w", err)
		}
		restPort, err := env.Listen(app.ListenREST)
		if err != nil {
			return nil, fmt.Errorf("REST port of the gateway: %w", err)
		}
		return New(config(env.Settings), Deps{
			Log: env.Log, Metrics: env.Metrics, Dial: env.Dial, DialEach: env.DialEach, Trust: env.Trust, Store: env.Store,
			GRPC: grpcPort, REST: restPort, Replica: env.Replica, Now: time.Now,
			Peers: func() []string { return replicas(env.Peers) },
		})
	}}
}

func config(s *app.Settings) Config {
	g := s.Gateway
	return Config{
		TLS: s.Listen.GatewayTLS, Drain: s.Drain, SVIDTTL: s.Identity.SVIDTTL,
		Limits: limit.Config{Rate: g.Rate, Burst: g.Burst, Concurrent: g.MaxConcurrent, Body: g.MaxBody},
		Audit:  audit.Config{MaxEvents: g.AuditMaxEvents, MaxAge: g.AuditMaxAge},
		Repeat: repeat.Config{Window: g.IdempotencyWindow},
		OIDC: credential.OIDCConfig{
			Issuer: g.OIDCIssuer, Audience: g.OIDCAudience, SubjectClaim: g.OIDCSubjectClaim, GroupsClaim: g.OIDCGroupsClaim, CAFile: g.OIDCCAFile,
		},
	}
}

func replicas(peers rpc.Peers) []string {
	var names []string
	for _, p := range peers.List() {
		names = append(names, p.Replica)
	}
	return names
}
