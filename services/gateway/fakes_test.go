package gateway

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// fakeDiscovery keeps services in a map and behaves as the contract says.
type fakeDiscovery struct {
	discoverypb.UnimplementedDiscoveryServiceServer
	mu        sync.Mutex
	seq       uint64
	services  map[model.Key]*discoverypb.Service
	workloads []*discoverypb.Workload
	// beforeUpdate runs before the next update and then no more: what somebody else does in between.
	beforeUpdate func()
}

func newFakeDiscovery() *fakeDiscovery {
	return &fakeDiscovery{services: map[model.Key]*discoverypb.Service{}}
}

func check(s *discoverypb.Service) (model.Key, error) {
	m, err := modelpb.ServiceFromProto(s)
	if err != nil {
		return m.Key, err
	}
	var fields []fault.Field
	for _, v := range m.Validate() {
		fields = append(fields, fault.Field(v))
	}
	return m.Key, fault.InvalidFields("service "+m.Key.String(), fields)
}

func (f *fakeDiscovery) revision() *typepb.SourceRevision {
	return &typepb.SourceRevision{Source: typepb.Source_SOURCE_DISCOVERY, Epoch: "e", Seq: f.seq}
}

func (f *fakeDiscovery) store(key model.Key, s *discoverypb.Service) *discoverypb.Service {
	f.seq++
	s = proto.CloneOf(s)
	s.Metadata.Namespace, s.Metadata.Etag = key.Namespace, fmt.Sprint(f.seq)
	f.services[key] = s
	return s
}

func (f *fakeDiscovery) CreateService(_ context.Context, req *discoverypb.CreateServiceRequest) (*discoverypb.CreateServiceResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key, err := check(req.GetService())
	if err != nil {
		return nil, err
	}
	if f.services[key] != nil {
		return nil, fault.New(fault.Exists, "service %q exists", key)
	}
	if req.GetValidateOnly() {
		return &discoverypb.CreateServiceResponse{Service: req.GetService()}, nil
	}
	return &discoverypb.CreateServiceResponse{Service: f.store(key, req.GetService()), Revision: f.revision()}, nil
}

func (f *fakeDiscovery) UpdateService(_ context.Context, req *discoverypb.UpdateServiceRequest) (*discoverypb.UpdateServiceResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key, err := check(req.GetService())
	if err != nil {
		return nil, err
	}
	if !req.GetValidateOnly() && f.beforeUpdate != nil {
		f.beforeUpdate()
		f.beforeUpdate = nil
	}
	current := f.services[key]
	if current == nil {
		return nil, fault.New(fault.NotFound, "no service %q", key)
	}
	if etag := req.GetService().GetMetadata().GetEtag(); etag != "" && etag != current.GetMetadata().GetEtag() {
		return nil, fault.New(fault.Conflict, "service %q has changed", key)
	}
	if req.GetValidateOnly() || proto.Equal(current.GetSpec(), req.GetService().GetSpec()) {
		answer := proto.CloneOf(current)
		answer.Spec = req.GetService().GetSpec()
		return &discoverypb.UpdateServiceResponse{Service: answer, Revision: f.revision()}, nil
	}
	return &discoverypb.UpdateServiceResponse{Service: f.store(key, req.GetService()), Revision: f.revision()}, nil
}

func (f *fakeDiscovery) GetService(_ context.Context, req *discoverypb.GetServiceRequest) (*discoverypb.GetServiceResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := modelpb.Key(req.GetNamespace(), req.GetName())
	if s := f.services[key]; s != nil {
		return &discoverypb.GetServiceResponse{Service: s}, nil
	}
	return nil, fault.New(fault.NotFound, "no service %q", key)
}

func (f *fakeDiscovery) ListServices(context.Context, *discoverypb.ListServicesRequest) (*discoverypb.ListServicesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &discoverypb.ListServicesResponse{}
	for _, s := range f.services {
		out.Services = append(out.Services, s)
	}
	slices.SortFunc(out.GetServices(), func(a, b *discoverypb.Service) int {
		return cmp.Compare(a.GetMetadata().GetName(), b.GetMetadata().GetName())
	})
	return out, nil
}

func (f *fakeDiscovery) ListWorkloads(context.Context, *discoverypb.ListWorkloadsRequest) (*discoverypb.ListWorkloadsResponse, error) {
	return &discoverypb.ListWorkloadsResponse{Workloads: f.workloads}, nil
}

// add stores a service that others made.
func (f *fakeDiscovery) add(name string, accounts ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addLocked(name, accounts...)
}

func (f *fakeDiscovery) addLocked(name string, accounts ...string) {
	f.store(model.Key{Namespace: "default", Name: name}, &discoverypb.Service{
		Metadata: &typepb.ObjectMeta{Namespace: "default", Name: name}, Spec: &discoverypb.ServiceSpec{Accounts: accounts},
	})
}

func (f *fakeDiscovery) accounts(name string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.services[model.Key{Namespace: "default", Name: name}].GetSpec().GetAccounts()
}

// fakeIdentity knows the token "good" of ann, who is an administrator from before there were roles, and those that a test gives.
type fakeIdentity struct {
	identitypb.UnimplementedIdentityServiceServer
	mu        sync.Mutex
	asked     int
	minted    int
	revoked   bool
	principal string
	down      bool
	tokens    map[string]*identitypb.Grant
	// bindings gives roles to what a subject's text says.
	bindings map[string]*identitypb.Grant
}

// grant makes a token, whose id is its secret.
func (f *fakeIdentity) grant(token string, role identitypb.Role, namespaces ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tokens == nil {
		f.tokens = map[string]*identitypb.Grant{}
	}
	f.tokens[token] = &identitypb.Grant{Role: role, Namespaces: namespaces}
}

// bind gives a role to a subject: "spiffe:…", "user:…" or "group:…".
func (f *fakeIdentity) bind(subject string, role identitypb.Role, namespaces ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bindings == nil {
		f.bindings = map[string]*identitypb.Grant{}
	}
	f.bindings[subject] = &identitypb.Grant{Role: role, Namespaces: namespaces}
}

func (f *fakeIdentity) ResolveGrants(_ context.Context, req *identitypb.ResolveGrantsRequest) (*identitypb.ResolveGrantsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.down {
		return nil, fault.New(fault.Unavailable, "store is away")
	}
	out := &identitypb.ResolveGrantsResponse{}
	for _, s := range req.GetSubjects() {
		text := "spiffe:" + s.GetSpiffeId()
		if s.GetOidcSubject() != "" {
			text = "user:" + s.GetOidcSubject()
		} else if s.GetOidcGroup() != "" {
			text = "group:" + s.GetOidcGroup()
		}
		if g := f.bindings[text]; g != nil {
			out.Grants = append(out.Grants, g)
		}
	}
	return out, nil
}

func (f *fakeIdentity) CreateAdminToken(context.Context, *identitypb.CreateAdminTokenRequest) (*identitypb.CreateAdminTokenResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.minted++
	return &identitypb.CreateAdminTokenResponse{AdminToken: &identitypb.AdminToken{Id: "4711", Grant: &identitypb.Grant{Role: identitypb.Role_ROLE_VIEWER, Namespaces: []string{"shop"}}}, Secret: "weft-admin.4711.SECRET"}, nil
}

func (f *fakeIdentity) AuthenticateToken(_ context.Context, req *identitypb.AuthenticateTokenRequest) (*identitypb.AuthenticateTokenResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	switch {
	case f.down:
		return nil, fault.New(fault.Unavailable, "store is away")
	case req.GetSecret() == "host" && !f.revoked:
		return &identitypb.AuthenticateTokenResponse{AdminToken: &identitypb.AdminToken{
			Id: "h1", Host: &identitypb.HostScope{Host: "b", Namespaces: []string{"shop", "lab"}, Accounts: []string{"cart", "web"}},
		}}, nil
	case f.tokens[req.GetSecret()] != nil && !f.revoked:
		return &identitypb.AuthenticateTokenResponse{AdminToken: &identitypb.AdminToken{Id: req.GetSecret(), Grant: f.tokens[req.GetSecret()]}}, nil
	case req.GetSecret() != "good" || f.revoked:
		return nil, fault.New(fault.Anonymous, "no such token")
	}
	return &identitypb.AuthenticateTokenResponse{AdminToken: &identitypb.AdminToken{Id: "ann"}}, nil
}

func (f *fakeIdentity) CreateJoinToken(ctx context.Context, _ *identitypb.CreateJoinTokenRequest) (*identitypb.CreateJoinTokenResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.principal = rpc.CallerFrom(ctx).Principal
	return &identitypb.CreateJoinTokenResponse{Token: "weft1.x"}, nil
}

func (f *fakeIdentity) CreateHostToken(context.Context, *identitypb.CreateHostTokenRequest) (*identitypb.CreateHostTokenResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.minted++
	return &identitypb.CreateHostTokenResponse{Token: "weft-host1.SECRET", CredentialId: "h2"}, nil
}

func (f *fakeIdentity) DeleteAdminToken(context.Context, *identitypb.DeleteAdminTokenRequest) (*identitypb.DeleteAdminTokenResponse, error) {
	return &identitypb.DeleteAdminTokenResponse{}, nil
}

func (f *fakeIdentity) GetBundle(context.Context, *identitypb.GetBundleRequest) (*identitypb.GetBundleResponse, error) {
	return &identitypb.GetBundleResponse{Bundle: &identitypb.Bundle{TrustDomain: "weft.local"}}, nil
}

// fakeDistributor lists what the test says, and is never converged.
type fakeDistributor struct {
	configpb.UnimplementedConvergenceServiceServer
	sidecars []*configpb.SidecarStatus
}

func (f *fakeDistributor) ListSidecars(context.Context, *configpb.ListSidecarsRequest) (*configpb.ListSidecarsResponse, error) {
	return &configpb.ListSidecarsResponse{Sidecars: f.sidecars, UnreachableReplicas: []string{"10.0.0.9:9715"}}, nil
}

func (f *fakeDistributor) WatchConvergence(_ *configpb.WatchConvergenceRequest, stream grpc.ServerStreamingServer[configpb.WatchConvergenceResponse]) error {
	if err := stream.Send(&configpb.WatchConvergenceResponse{Convergence: &configpb.Convergence{Affected: 2, Applied: 1}}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}
