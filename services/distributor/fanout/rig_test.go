package fanout_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/distributor/compile/compiletest"
	"github.com/weft-mesh/weft/services/distributor/fanout"
	"github.com/weft-mesh/weft/services/distributor/fanout/fanouttest"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// endpoint makes a hub an RPC service.
type endpoint struct {
	configpb.UnimplementedConfigServiceServer
	hub *fanout.Hub
}

func (e *endpoint) Stream(ss configpb.ConfigService_StreamServer) error { return e.hub.Stream(ss) }

// nobody counts nothing.
type nobody struct{}

func (nobody) StreamsOpen(int)                {}
func (nobody) UpdateSent(fanout.Sent)         {}
func (nobody) UpdateAcked(time.Duration, int) {}
func (nobody) OtherEpoch(string)              {}

// replica is one hub behind a real server.
type replica struct {
	t      *testing.T
	hub    *fanout.Hub
	server *fanouttest.Server
	state  *compile.State
}

// config is patient, so that only what a test is about happens.
func config() fanout.Config {
	cfg := fanout.Default()
	cfg.Digest = time.Hour
	cfg.AdmitPerSecond = 100_000
	return cfg
}

func newReplica(t *testing.T, ca *testca.CA, cfg fanout.Config, peers int) *replica {
	t.Helper()
	return newReplicaObserved(t, ca, cfg, peers, nobody{})
}

func newReplicaObserved(t *testing.T, ca *testca.CA, cfg fanout.Config, peers int, observer fanout.Observer) *replica {
	t.Helper()
	hub := fanout.New(cfg, fanout.Deps{
		Observer: observer, Log: zaptest.NewLogger(t), Now: time.Now, Replica: "r1", Peers: func() int { return peers },
	})
	server := fanouttest.Serve(t, ca, func(r *rpc.Registrar) {
		configpb.RegisterConfigServiceServer(r, &endpoint{hub: hub})
		r.AllowService(&configpb.ConfigService_ServiceDesc, rpc.Workloads())
		r.Leaves(configpb.ConfigService_Stream_FullMethodName)
	})
	return &replica{t: t, hub: hub, server: server}
}

// publish compiles a world at a vector and makes it current.
func (r *replica) publish(at model.Vector, text string) {
	r.t.Helper()
	w := compiletest.World(r.t, text)
	w.Vector = at
	r.state = compile.Next(r.state, w)
	r.hub.Publish(r.state)
}

// conn connects as an account, "namespace/account".
func (r *replica) conn(account string) grpc.ClientConnInterface {
	k := compiletest.Key(account)
	return r.server.Conn(spiffe.Account{Namespace: k.Namespace, Name: k.Name})
}

// at is the vector with a policy and a discovery revision.
func at(policy, discovery uint64) model.Vector { return compiletest.Vector(policy, discovery, 1) }

const shop = `
service x/web accounts=web ports=80:http
service x/db accounts=db ports=6379:tcp
workload x/web-1 account=web services=web address=10.0.0.1 mesh=15008 ports=8080
workload x/db-1 account=db services=db address=10.0.0.2 mesh=15008 ports=6379
`
