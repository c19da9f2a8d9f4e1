package policy

import "github.com/weft-mesh/weft/services/app"

// Build is the service for a process's list.
func Build() app.Build {
	return app.Build{Name: app.Policy, New: func(env *app.Env) (app.Service, error) {
		return New(Config{}, Deps{
			Log: env.Log, Store: env.Store, Metrics: env.Metrics, Gateway: app.Gateway, Distributor: app.Distributor,
		})
	}}
}
