package telemetry

import (
	"time"

	"github.com/weft-mesh/weft/services/app"
)

// Build makes the telemetry service out of what the process lends.
func Build() app.Build {
	return app.Build{Name: app.Telemetry, New: func(env *app.Env) (app.Service, error) {
		return New(Default(), Deps{
			Log: env.Log, Metrics: env.Metrics, Peers: env.Peers, Replica: env.Replica, Now: time.Now,
		})
	}}
}
