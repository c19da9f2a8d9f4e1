package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// beforeJoinToken makes sure that the services that a token's holder is to register exist and admit its account. All are
// looked at before any is made, so that a refused token leaves nothing behind.
func (s *Service) beforeJoinToken(ctx context.Context, request []byte) error {
	req := &identitypb.CreateJoinTokenRequest{}
	if err := proto.Unmarshal(request, req); err != nil {
		return fault.Wrap(fault.Invalid, err, "decode the request")
	}
	if len(req.GetServices()) == 0 {
		return nil
	}
	conn, err := s.deps.Dial(discovery)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "service discovery cannot be reached")
	}
	client := discoverypb.NewDiscoveryServiceClient(conn)
	namespace := cmp.Or(req.GetNamespace(), model.DefaultNamespace)
	var missing []*discoverypb.Service
	var fields []fault.Field
	for i, name := range req.GetServices() {
		path := fmt.Sprintf("services[%d]", i)
		existing, err := client.GetService(ctx, &discoverypb.GetServiceRequest{Namespace: namespace, Name: name})
		err = rpc.FaultOf(err)
		switch {
		case fault.Is(err, fault.NotFound):
			wanted := serviceFor(namespace, name, req.GetAccount())
			fields = append(fields, dryCreate(ctx, client, wanted, path)...)
			missing = append(missing, wanted)
		case err != nil:
			return fmt.Errorf("read service %q: %w", namespace+"/"+name, err)
		default:
			fields = append(fields, admits(existing.GetService(), namespace, req.GetAccount(), path)...)
		}
	}
	if len(fields) > 0 {
		return fault.InvalidFields("join token for account "+namespace+"/"+req.GetAccount(), fields)
	}
	for _, wanted := range missing {
		if err := createFor(ctx, client, wanted, namespace, req.GetAccount()); err != nil {
			return err
		}
	}
	return nil
}

func serviceFor(namespace, name, account string) *discoverypb.Service {
	return &discoverypb.Service{
		Metadata: &typepb.ObjectMeta{Namespace: namespace, Name: name},
		Spec:     &discoverypb.ServiceSpec{Accounts: []string{account}},
	}
}

// dryCreate asks discovery whether it would accept the service. What it says about the account is about the token's account.
func dryCreate(ctx context.Context, client discoverypb.DiscoveryServiceClient, wanted *discoverypb.Service, path string) []fault.Field {
	_, err := client.CreateService(ctx, &discoverypb.CreateServiceRequest{Service: wanted, ValidateOnly: true})
	var f *fault.Error
	if !errors.As(rpc.FaultOf(err), &f) || f.Kind != fault.Invalid {
		return nil // anything else shows when the service is made
	}
	fields := slices.Clone(f.Fields)
	for i := range fields {
		if strings.HasPrefix(fields[i].Path, "spec.accounts") {
			fields[i].Path = "account"
		} else {
			fields[i].Path = path
		}
	}
	if len(fields) == 0 {
		fields = []fault.Field{{Path: path, Problem: f.Error()}}
	}
	return fields
}

// createFor makes a service; one that somebody else has made in the meantime must admit the account.
func createFor(ctx context.Context, client discoverypb.DiscoveryServiceClient, wanted *discoverypb.Service, namespace, account string) error {
	name := wanted.GetMetadata().GetName()
	_, err := client.CreateService(ctx, &discoverypb.CreateServiceRequest{Service: wanted})
	err = rpc.FaultOf(err)
	if fault.Is(err, fault.Exists) {
		existing, err := client.GetService(ctx, &discoverypb.GetServiceRequest{Namespace: namespace, Name: name})
		if err != nil {
			return fmt.Errorf("read service %q: %w", namespace+"/"+name, err)
		}
		return fault.InvalidFields("join token for account "+namespace+"/"+account, admits(existing.GetService(), namespace, account, "services"))
	}
	if err != nil {
		return fmt.Errorf("create service %q: %w", namespace+"/"+name, err)
	}
	return nil
}

// admits says what is wrong when a service does not list an account.
func admits(existing *discoverypb.Service, namespace, account, path string) []fault.Field {
	parsed, err := modelpb.ServiceFromProto(existing)
	if err == nil && parsed.Admits(namespace, account) {
		return nil
	}
	allowed := "no account"
	if accounts := existing.GetSpec().GetAccounts(); len(accounts) > 0 {
		allowed = fmt.Sprintf("%q", accounts)
	}
	return []fault.Field{{Path: path, Problem: fmt.Sprintf("service %s/%s allows %s, not %q; add the account to its spec.accounts first",
		existing.GetMetadata().GetNamespace(), existing.GetMetadata().GetName(), allowed, account)}}
}
