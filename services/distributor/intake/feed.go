package intake

import (
	"context"
	"fmt"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
)

// kindBundle is the kind of the trust bundle's changes; it is no object of the API.
const kindBundle = "Bundle"

func policyFeed(client policypb.PolicyServiceClient) open {
	return func(ctx context.Context, after model.Revision) (receive, error) {
		stream, err := client.Watch(ctx, &policypb.WatchRequest{ResumeFrom: modelpb.RevisionToProto(after)})
		if err != nil {
			return nil, err
		}
		return func() (step, error) {
			m, err := stream.Recv()
			if err != nil {
				return step{}, err
			}
			out, err := newStep(m.GetReset_(), m.GetComplete(), m.GetRevision())
			for _, c := range m.GetChanges() {
				out.changes = append(out.changes, policyChange(c))
			}
			return out, err
		}, nil
	}
}

func policyChange(c *policypb.Change) change {
	switch o := c.GetObject().(type) {
	case *policypb.Change_Route:
		v, err := modelpb.RouteFromProto(o.Route)
		return change{model.KindRoute, v.Key, &v, err}
	case *policypb.Change_AccessPolicy:
		v, err := modelpb.AccessPolicyFromProto(o.AccessPolicy)
		return change{model.KindAccessPolicy, v.Key, &v, err}
	case *policypb.Change_MeshConfig:
		v, err := modelpb.MeshConfigFromProto(o.MeshConfig)
		return change{model.KindMeshConfig, v.Key, &v, err}
	case *policypb.Change_ExternalService:
		v, err := modelpb.ExternalServiceFromProto(o.ExternalService)
		return change{model.KindExternalService, v.Key, &v, err}
	case *policypb.Change_Removed:
		return removed(o.Removed)
	default:
		return unknown()
	}
}

func discoveryFeed(client discoverypb.DiscoveryServiceClient) open {
	return func(ctx context.Context, after model.Revision) (receive, error) {
		stream, err := client.Watch(ctx, &discoverypb.WatchRequest{ResumeFrom: modelpb.RevisionToProto(after)})
		if err != nil {
			return nil, err
		}
		return func() (step, error) {
			m, err := stream.Recv()
			if err != nil {
				return step{}, err
			}
			out, err := newStep(m.GetReset_(), m.GetComplete(), m.GetRevision())
			for _, c := range m.GetChanges() {
				out.changes = append(out.changes, discoveryChange(c))
			}
			return out, err
		}, nil
	}
}

func discoveryChange(c *discoverypb.Change) change {
	switch o := c.GetObject().(type) {
	case *discoverypb.Change_Service:
		v, err := modelpb.ServiceFromProto(o.Service)
		return change{model.KindService, v.Key, &v, err}
	case *discoverypb.Change_Workload:
		v, err := modelpb.WorkloadFromProto(o.Workload)
		return change{model.KindWorkload, v.Key, &v, err}
	case *discoverypb.Change_Removed:
		return removed(o.Removed)
	default:
		return unknown()
	}
}

// identityFeed makes a complete step of every bundle: a message holds all of it.
func identityFeed(client identitypb.IdentityServiceClient) open {
	return func(ctx context.Context, _ model.Revision) (receive, error) {
		stream, err := client.WatchBundles(ctx, &identitypb.WatchBundlesRequest{})
		if err != nil {
			return nil, err
		}
		return func() (step, error) {
			m, err := stream.Recv()
			if err != nil {
				return step{}, err
			}
			b := m.GetBundle()
			if b.GetTrustDomain() == "" || len(b.GetX509Authorities()) == 0 {
				return step{}, fmt.Errorf("bundle of %q has %d authorities", b.GetTrustDomain(), len(b.GetX509Authorities()))
			}
			out, err := newStep(true, true, b.GetRevision())
			out.changes = []change{{kind: kindBundle, object: &compile.Bundle{TrustDomain: b.GetTrustDomain(), Authorities: b.GetX509Authorities()}}}
			return out, err
		}, nil
	}
}

func newStep(reset, complete bool, at *typepb.SourceRevision) (step, error) {
	revision, err := modelpb.RevisionFromProto(at)
	return step{reset: reset, complete: complete, revision: revision}, err
}

func removed(ref *typepb.ObjectRef) change {
	return change{kind: ref.GetKind(), key: modelpb.Key(ref.GetNamespace(), ref.GetName())}
}

// unknown is a kind of object that a newer source knows: it changes nothing here.
func unknown() change {
	return change{kind: "unknown", err: fmt.Errorf("a kind that this version does not know")}
}
