package distributor

import (
	"fmt"
	"time"

	"google.golang.org/grpc"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	"github.com/weft-mesh/weft/services/app"
)

// Build makes the distributor out of what the process lends.
func Build() app.Build {
	return app.Build{Name: app.Distributor, New: build}
}

func build(env *app.Env) (app.Service, error) {
	conns := map[string]grpc.ClientConnInterface{}
	for _, name := range []string{app.Policy, app.Discovery, app.Identity} {
		conn, err := env.Dial(name)
		if err != nil {
			return nil, fmt.Errorf("dial %s: %w", name, err)
		}
		conns[name] = conn
	}
	return New(Default(), Deps{
		Log:       env.Log,
		Metrics:   env.Metrics,
		Replica:   env.Replica,
		Peers:     env.Peers,
		Now:       time.Now,
		Policy:    policypb.NewPolicyServiceClient(conns[app.Policy]),
		Discovery: discoverypb.NewDiscoveryServiceClient(conns[app.Discovery]),
		Identity:  identitypb.NewIdentityServiceClient(conns[app.Identity]),
	})
}
