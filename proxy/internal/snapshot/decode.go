package snapshot

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"google.golang.org/protobuf/types/known/durationpb"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// Names of resources, as the contract of Resource.name has them.
const (
	meshName        = "mesh"
	inboundName     = "inbound"
	accessName      = "access"
	bundleName      = "bundle"
	servicePrefix   = "service/"
	endpointsPrefix = "endpoints/"
	addressPrefix   = "address/"
	egressName      = "egress"
)

// decode understands one resource or says why not.
func decode(owner Owner, r *configpb.Resource) (any, error) {
	if r.GetVersion() == "" {
		return nil, errors.New("no version")
	}
	var value any
	var err error
	want := ""
	switch body := r.GetBody().(type) {
	case *configpb.Resource_Mesh:
		want = meshName
		value, err = decodeMesh(owner, body.Mesh)
	case *configpb.Resource_Inbound:
		want = inboundName
		value, err = decodeInbound(owner, body.Inbound)
	case *configpb.Resource_Access:
		want = accessName
		value, err = decodeAccess(r, body.Access)
	case *configpb.Resource_Bundle:
		want = bundleName
		value, err = decodeBundle(owner, body.Bundle)
	case *configpb.Resource_Service:
		want = servicePrefix + body.Service.GetName()
		value, err = decodeService(body.Service)
	case *configpb.Resource_Endpoints:
		want = endpointsPrefix + body.Endpoints.GetService()
		value, err = decodeEndpoints(body.Endpoints)
	case *configpb.Resource_Address:
		want = addressPrefix + body.Address.GetAddress()
		value, err = decodeAddress(body.Address)
	case *configpb.Resource_Egress:
		want = egressName
		value, err = decodeEgress(r, body.Egress)
	default:
		return nil, errors.New("this sidecar does not know this kind of resource: it is older than the control plane")
	}
	if err != nil {
		return nil, err
	}
	if r.GetName() != want {
		return nil, fmt.Errorf("named %q, but holds %q", r.GetName(), want)
	}
	return value, nil
}

func decodeMesh(owner Owner, pb *configpb.Mesh) (*table.Mesh, error) {
	if pb.GetTrustDomain() != owner.TrustDomain.Name() {
		return nil, fmt.Errorf("trust_domain: %q, but this sidecar belongs to %q", pb.GetTrustDomain(), owner.TrustDomain.Name())
	}
	mtls, err := decodeMTLS(pb.GetMtls())
	if err != nil {
		return nil, err
	}
	balancing, err := decodeBalancing(pb.GetBalancing(), table.PeakEWMA)
	if err != nil {
		return nil, err
	}
	return &table.Mesh{
		TrustDomain: owner.TrustDomain,
		MTLS:        mtls,
		Balancing:   balancing,
		Retry:       table.RetryBudget{Percent: pb.GetRetryPercent(), MinPerSecond: pb.GetRetryMinPerSecond()},
	}, nil
}

func decodeMTLS(pb typepb.MtlsMode) (table.MTLSMode, error) {
	switch pb {
	case typepb.MtlsMode_MTLS_MODE_OFF:
		return table.Off, nil
	case typepb.MtlsMode_MTLS_MODE_PERMISSIVE:
		return table.Permissive, nil
	case typepb.MtlsMode_MTLS_MODE_STRICT, typepb.MtlsMode_MTLS_MODE_UNSPECIFIED:
		return table.Strict, nil // unspecified must not open anything
	default:
		return 0, fmt.Errorf("mtls: unknown mode %d", pb)
	}
}

func decodeBalancing(pb typepb.Balancing, inherited table.Balancing) (table.Balancing, error) {
	switch pb {
	case typepb.Balancing_BALANCING_UNSPECIFIED:
		return inherited, nil
	case typepb.Balancing_BALANCING_PEAK_EWMA:
		return table.PeakEWMA, nil
	case typepb.Balancing_BALANCING_ROUND_ROBIN:
		return table.RoundRobin, nil
	case typepb.Balancing_BALANCING_LEAST_REQUEST:
		return table.LeastRequest, nil
	default:
		return 0, fmt.Errorf("balancing: unknown method %d", pb)
	}
}

func decodeProtocol(pb typepb.Protocol) (table.Protocol, error) {
	switch pb {
	case typepb.Protocol_PROTOCOL_UNSPECIFIED:
		return table.Detect, nil
	case typepb.Protocol_PROTOCOL_HTTP:
		return table.HTTP, nil
	case typepb.Protocol_PROTOCOL_HTTP2:
		return table.HTTP2, nil
	case typepb.Protocol_PROTOCOL_GRPC:
		return table.GRPC, nil
	case typepb.Protocol_PROTOCOL_TCP:
		return table.TCP, nil
	case typepb.Protocol_PROTOCOL_UDP:
		return table.UDP, nil
	default:
		return 0, fmt.Errorf("protocol: unknown value %d", pb)
	}
}

func decodeInbound(owner Owner, pb *configpb.Inbound) (*table.Inbound, error) {
	if pb.GetNamespace() != owner.Namespace || pb.GetWorkload() != owner.Workload {
		return nil, fmt.Errorf("made for workload %s/%s, but this is %s/%s", pb.GetNamespace(), pb.GetWorkload(), owner.Namespace, owner.Workload)
	}
	in := &table.Inbound{Namespace: pb.GetNamespace(), Account: pb.GetAccount(), Workload: pb.GetWorkload(), Labels: pb.GetLabels()}
	for i, p := range pb.GetPorts() {
		if err := checkName(p.GetService()); err != nil {
			return nil, fmt.Errorf("ports[%d].service: %w", i, err)
		}
		port, err := decodePort(p.GetPort(), 0)
		if err != nil {
			return nil, fmt.Errorf("ports[%d].port: %w", i, err)
		}
		target, err := decodePort(p.GetTargetPort(), 1)
		if err != nil {
			return nil, fmt.Errorf("ports[%d].target_port: %w", i, err)
		}
		protocol, err := decodeProtocol(p.GetProtocol())
		if err != nil {
			return nil, fmt.Errorf("ports[%d]: %w", i, err)
		}
		in.Ports = append(in.Ports, table.InboundPort{Service: p.GetService(), Port: port, TargetPort: target, Protocol: protocol})
	}
	return in, nil
}

func decodeBundle(owner Owner, pb *configpb.TrustBundle) (*x509bundle.Bundle, error) {
	if pb.GetTrustDomain() != owner.TrustDomain.Name() {
		return nil, fmt.Errorf("trust_domain: %q, but this sidecar belongs to %q", pb.GetTrustDomain(), owner.TrustDomain.Name())
	}
	if len(pb.GetX509Authorities()) == 0 {
		return nil, errors.New("x509_authorities: none, which would cut this sidecar off for good")
	}
	certs, err := spiffe.Certificates(pb.GetX509Authorities())
	if err != nil {
		return nil, fmt.Errorf("x509_authorities: %w", err)
	}
	return x509bundle.FromX509Authorities(owner.TrustDomain, certs), nil
}

func decodePort(n uint32, least uint32) (uint16, error) {
	if n < least || n > 65535 {
		return 0, fmt.Errorf("%d is not between %d and 65535", n, least)
	}
	return uint16(n), nil
}

func decodeDuration(d *durationpb.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	if err := d.CheckValid(); err != nil {
		return 0, err
	}
	if d.AsDuration() < 0 {
		return 0, fmt.Errorf("%v is negative", d.AsDuration())
	}
	return d.AsDuration(), nil
}

// checkName accepts "namespace/name", both not empty, at most 127 bytes: two labels of 63 and the slash.
func checkName(name string) error {
	ns, rest, ok := strings.Cut(name, "/")
	if !ok || ns == "" || rest == "" || strings.Contains(rest, "/") || len(name) > 127 {
		return fmt.Errorf("%q is not of the form namespace/name", name)
	}
	return nil
}
