package telemetry

import (
	"time"

	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/services/app"
)

// Build makes the telemetry service out of what the process lends.
func Build() app.Build {
	return app.Build{Name: app.Telemetry, New: func(env *app.Env) (app.Service, error) {
		return New(Default(), Deps{
			Log: env.Log, Metrics: env.Metrics, Peers: envPeers{env.Peers}, Replica: env.Replica, Now: time.Now,
		})
	}}
}

// envPeers are the process's peers, in this package's own terms.
type envPeers struct {
	peers app.Peers
}

func (p envPeers) List() []Peer {
	var out []Peer
	for _, peer := range p.peers.List() {
		out = append(out, Peer(peer))
	}
	return out
}

func (p envPeers) Dial(peer Peer) (grpc.ClientConnInterface, error) {
	return p.peers.Dial(app.Peer(peer))
}
