package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/integration/bench/sim"
)

// admin is the administrator: it does what people do, through the gateway.
type admin struct {
	conn        *grpc.ClientConn
	discovery   discoverypb.DiscoveryServiceClient
	policy      policypb.PolicyServiceClient
	identity    identitypb.IdentityServiceClient
	convergence configpb.ConvergenceServiceClient
}

// bearer sends the administrator's token; the gateway is on loopback.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (b bearer) RequireTransportSecurity() bool { return false }

// newAdmin finds gateway and token in the environment of the mesh.
func newAdmin(env []string) (*admin, error) {
	vars := map[string]string{}
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = value
	}
	token, err := os.ReadFile(vars["WEFT_TOKEN_FILE"])
	if err != nil {
		return nil, fmt.Errorf("administrator's token: %w", err)
	}
	conn, err := grpc.NewClient(vars["WEFT_GATEWAY"], grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(bearer(strings.TrimSpace(string(token)))), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return nil, err
	}
	return &admin{
		conn: conn, discovery: discoverypb.NewDiscoveryServiceClient(conn), policy: policypb.NewPolicyServiceClient(conn),
		identity: identitypb.NewIdentityServiceClient(conn), convergence: configpb.NewConvergenceServiceClient(conn),
	}, nil
}

func meta(name string) *typepb.ObjectMeta {
	return &typepb.ObjectMeta{Namespace: sim.Namespace, Name: name}
}

// service makes a service with its route.
func (a *admin) service(ctx context.Context, name string) error {
	_, err := a.discovery.CreateService(ctx, &discoverypb.CreateServiceRequest{Service: &discoverypb.Service{
		Metadata: meta(name),
		Spec: &discoverypb.ServiceSpec{
			Accounts: []string{name},
			Ports:    []*discoverypb.ServicePort{{Name: "http", Port: 80, TargetPort: 8080, Protocol: typepb.Protocol_PROTOCOL_HTTP}},
		},
	}})
	if err != nil {
		return fmt.Errorf("create service %s: %w", name, err)
	}
	if _, err := a.policy.CreateRoute(ctx, &policypb.CreateRouteRequest{Route: route(name, 5*time.Second)}); err != nil {
		return fmt.Errorf("create route %s: %w", name, err)
	}
	return nil
}

func route(name string, timeout time.Duration) *policypb.Route {
	return &policypb.Route{Metadata: meta(name), Spec: &policypb.RouteSpec{Service: name, Rules: []*policypb.RouteRule{{
		Match:    []*policypb.HttpMatch{{Path: &typepb.PathMatch{Kind: &typepb.PathMatch_Prefix{Prefix: "/"}}}},
		Backends: []*policypb.Backend{{Service: name, Labels: map[string]string{"version": "v1"}}},
		Timeout:  durationpb.New(timeout), Retry: &policypb.RetryPolicy{Attempts: 2},
	}}}}
}

// route changes the route of a service and returns the revision.
func (a *admin) route(ctx context.Context, name string, timeout time.Duration) (*typepb.SourceRevision, error) {
	r, err := a.policy.UpdateRoute(ctx, &policypb.UpdateRouteRequest{Route: route(name, timeout)})
	return r.GetRevision(), err
}

// access allows a number of accounts to call those of an account, and returns the revision.
func (a *admin) access(ctx context.Context, account string, callers int, create bool) (uint64, error) {
	policy := &policypb.AccessPolicy{Metadata: meta(account), Spec: &policypb.AccessPolicySpec{
		Destination: &policypb.AccessDestination{Account: account}, Allow: []*policypb.AccessRule{{}},
	}}
	for i := range callers {
		policy.Spec.Allow[0].From = append(policy.Spec.Allow[0].From, &policypb.AccessSource{Account: fmt.Sprintf("s%04d", i)})
	}
	if create {
		r, err := a.policy.CreateAccessPolicy(ctx, &policypb.CreateAccessPolicyRequest{AccessPolicy: policy})
		return r.GetRevision().GetSeq(), err
	}
	r, err := a.policy.UpdateAccessPolicy(ctx, &policypb.UpdateAccessPolicyRequest{AccessPolicy: policy})
	return r.GetRevision().GetSeq(), err
}

// defaultAccess says what is allowed where no policy says anything, and returns the revision.
func (a *admin) defaultAccess(ctx context.Context, to typepb.AccessDefault) (uint64, error) {
	object := &policypb.MeshConfig{
		Metadata: &typepb.ObjectMeta{Namespace: "default", Name: "default"},
		Spec:     &policypb.MeshConfigSpec{Mtls: typepb.MtlsMode_MTLS_MODE_STRICT, Access: to},
	}
	r, err := a.policy.UpdateMeshConfig(ctx, &policypb.UpdateMeshConfigRequest{MeshConfig: object})
	if err == nil {
		return r.GetRevision().GetSeq(), nil
	}
	c, err := a.policy.CreateMeshConfig(ctx, &policypb.CreateMeshConfigRequest{MeshConfig: object})
	return c.GetRevision().GetSeq(), err
}

func (a *admin) token(ctx context.Context, account string) (string, error) {
	r, err := a.identity.CreateJoinToken(ctx, &identitypb.CreateJoinTokenRequest{
		Namespace: sim.Namespace, Account: account, Services: []string{account},
	})
	return r.GetToken(), err
}

// compare asks what the control plane thinks of who has a change.
func (a *admin) compare(ctx context.Context, target *typepb.RevisionVector) (*configpb.Convergence, error) {
	r, err := a.convergence.GetConvergence(ctx, &configpb.GetConvergenceRequest{Target: target})
	return r.GetConvergence(), err
}

// await does what `weft apply --wait` does: it returns when every affected sidecar has a change.
func (a *admin) await(ctx context.Context, target *typepb.RevisionVector) error {
	stream, err := a.convergence.WatchConvergence(ctx, &configpb.WatchConvergenceRequest{Target: target})
	for err == nil {
		var r *configpb.WatchConvergenceResponse
		if r, err = stream.Recv(); r.GetConvergence().GetConverged() {
			return nil
		}
	}
	return fmt.Errorf("wait for convergence: %w", err)
}
