package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/discovery"
	"github.com/weft-mesh/weft/services/distributor"
	"github.com/weft-mesh/weft/services/gateway"
	"github.com/weft-mesh/weft/services/identity"
	"github.com/weft-mesh/weft/services/policy"
	"github.com/weft-mesh/weft/services/telemetry"
)

// start runs all services in this process, as `weft up` does, and returns the gateway's addresses and the first token.
func start(t *testing.T, change ...func(*app.Settings)) (ports app.ServicePorts, token string) {
	t.Helper()
	all, token := startAll(t, change...)
	return all[app.Gateway], token
}

func startAll(t *testing.T, change ...func(*app.Settings)) (ports app.Ports, token string) {
	t.Helper()
	s := app.Default()
	s.DataDir, s.RunDir, s.Store.Kind = t.TempDir(), t.TempDir(), app.StoreMem
	for _, name := range app.Names() {
		*s.Listen.Port(name) = 0
	}
	s.Listen.GatewayREST = 0
	for _, f := range change {
		f(s)
	}
	ready, ended := make(chan app.Ports, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		ended <- app.Process{
			Settings: s, Log: zap.NewNop(), Ready: func(p app.Ports) { ready <- p },
			Builds: []app.Build{
				discovery.Build(), identity.Build(), policy.Build(), telemetry.Build(), distributor.Build(), gateway.Build(),
			},
		}.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case ports = <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatalf("control plane ended: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(s.DataDir, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	return ports, strings.TrimSpace(string(text))
}

// An administrator's day through the gateway, with the real services behind it.
func TestAllServicesThroughTheGateway(t *testing.T) {
	ports, token := start(t)
	conn, err := grpc.NewClient(ports.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
	admin := adminpb.NewAdminServiceClient(conn)

	t.Run("a join token makes its services", func(t *testing.T) {
		_, err := identitypb.NewIdentityServiceClient(conn).CreateJoinToken(ctx, &identitypb.CreateJoinTokenRequest{Account: "shop", Services: []string{"shop"}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := discoverypb.NewDiscoveryServiceClient(conn).GetService(ctx, &discoverypb.GetServiceRequest{Name: "shop"})
		if err != nil || len(got.GetService().GetSpec().GetAccounts()) != 1 {
			t.Errorf("service %v, %v", got, err)
		}
	})
	t.Run("applied manifests converge", func(t *testing.T) {
		resp, err := admin.Apply(ctx, &adminpb.ApplyRequest{Strict: true, Manifests: `
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {name: shop}
spec: {accounts: [shop, shop-canary], ports: [{port: 80}]}
---
apiVersion: weft.dev/v1alpha1
kind: Route
metadata: {name: canary}
spec: {service: shop, rules: [{backends: [{service: shop, labels: {version: v1}, weight: 9}, {service: shop, labels: {version: v2}, weight: 1}]}]}
`})
		if err != nil {
			t.Fatal(err)
		}
		if resp.GetObjects()[0].GetAction() != adminpb.ApplyAction_APPLY_ACTION_UPDATED || len(resp.GetRevisions().GetRevisions()) != 2 {
			t.Fatalf("applied %v", resp)
		}
		stream, err := configpb.NewConvergenceServiceClient(conn).WatchConvergence(ctx, &configpb.WatchConvergenceRequest{Target: resp.GetRevisions()})
		if err != nil {
			t.Fatal(err)
		}
		var last *configpb.Convergence
		for {
			answer, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			last = answer.GetConvergence()
		}
		if !last.GetConverged() {
			t.Errorf("the stream ended with %v", last)
		}
	})
	t.Run("every component is ready", func(t *testing.T) {
		got, err := admin.GetStatus(ctx, &adminpb.GetStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range got.GetComponents() {
			if !c.GetReady() {
				t.Errorf("%v", c)
			}
		}
		if len(got.GetComponents()) != len(app.Names()) {
			t.Errorf("%d components, want %d", len(got.GetComponents()), len(app.Names()))
		}
	})
	t.Run("check finds what is missing", func(t *testing.T) {
		got, err := admin.CheckMesh(ctx, &adminpb.CheckMeshRequest{})
		if err != nil || len(got.GetFindings()) == 0 || got.GetFindings()[0].GetSubject() != "route default/canary" {
			t.Errorf("findings %v, %v; want the labels that no workload has first", got.GetFindings(), err)
		}
	})
	t.Run("methods of sidecars are not offered", func(t *testing.T) {
		_, err := discoverypb.NewDiscoveryServiceClient(conn).Deregister(ctx, &discoverypb.DeregisterRequest{Name: "x"})
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("Deregister: %v", err)
		}
	})
	t.Run("REST answers for every service", func(t *testing.T) {
		for _, path := range []string{"services", "workloads", "routes", "accesspolicies", "meshconfigs", "bundle", "admintokens", "edges", "sidecars", "status", "check"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ports.REST+"/v1alpha1/"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			var body map[string]any
			err = json.NewDecoder(resp.Body).Decode(&body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%s: status %d, %v, %v", path, resp.StatusCode, body, err)
			}
		}
	})
}
