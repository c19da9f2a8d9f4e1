package discovery

import "github.com/weft-mesh/weft/services/app"

// Build is the service for a process's list.
func Build() app.Build {
	return app.Build{Name: app.Discovery, New: func(env *app.Env) (app.Service, error) {
		cfg := Default()
		cfg.Lease, cfg.Heartbeat = env.Settings.Lease.TTL, env.Settings.Lease.Heartbeat
		cfg.StaticFiles = env.Settings.StaticFiles
		return New(cfg, Deps{
			Log: env.Log, Store: env.Store, Metrics: env.Metrics, Replica: env.Replica,
			Peers: func() []string {
				var names []string
				for _, p := range env.Peers.List() {
					names = append(names, p.Replica)
				}
				return names
			},
			Gateway: app.Gateway, Distributor: app.Distributor,
		})
	}}
}
