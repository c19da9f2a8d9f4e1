package snapshot

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// versionLabel is the label whose value metrics and logs carry.
const versionLabel = "version"

// endpoints is the decoded set of one service. The table.Endpoints are made once and shared by every table and every selection
// until the resource changes.
type endpoints struct {
	service string
	all     []labelled
}

type labelled struct {
	endpoint *table.Endpoint
	labels   map[string]string
}

func decodeEndpoints(pb *configpb.EndpointSet) (*endpoints, error) {
	if err := checkName(pb.GetService()); err != nil {
		return nil, fmt.Errorf("service: %w", err)
	}
	for i, id := range pb.GetIds() {
		if _, err := spiffeid.FromString(id); err != nil {
			return nil, fmt.Errorf("ids[%d]: %q: %w", i, id, err)
		}
	}
	set := &endpoints{service: pb.GetService()}
	for i, e := range pb.GetEndpoints() {
		decoded, err := decodeEndpoint(pb.GetService(), e)
		if err != nil {
			return nil, fmt.Errorf("endpoints[%d] (%s): %w", i, e.GetWorkload(), err)
		}
		// An identity that the service does not list is trusted by nobody: the endpoint would only cost failed handshakes.
		trusted := decoded.MeshPort == 0 || slices.Contains(pb.GetIds(), e.GetId())
		if e.GetDraining() || !trusted {
			continue
		}
		set.all = append(set.all, labelled{decoded, e.GetLabels()})
	}
	return set, nil
}

func decodeEndpoint(service string, pb *configpb.Endpoint) (*table.Endpoint, error) {
	if pb.GetWorkload() == "" {
		return nil, fmt.Errorf("workload: empty")
	}
	addr, ok := netip.AddrFromSlice(pb.GetAddress())
	if !ok {
		return nil, fmt.Errorf("address: %d bytes are no IP address", len(pb.GetAddress()))
	}
	mesh, err := decodePort(pb.GetMeshPort(), 0)
	if err != nil {
		return nil, fmt.Errorf("mesh_port: %w", err)
	}
	port, err := decodePort(pb.GetPort(), 0)
	if err != nil {
		return nil, fmt.Errorf("port: %w", err)
	}
	target, err := decodePort(pb.GetTargetPort(), 1)
	if err != nil {
		return nil, fmt.Errorf("target_port: %w", err)
	}
	e := &table.Endpoint{
		Service:     service,
		ServicePort: port,
		Address:     addr.Unmap(),
		MeshPort:    mesh,
		TargetPort:  target,
		UDP:         pb.GetUdp(),
		Version:     pb.GetLabels()[versionLabel],
		Unknown:     pb.GetUnknown(),
	}
	if mesh != 0 {
		if e.ID, err = spiffeid.FromString(pb.GetId()); err != nil {
			return nil, fmt.Errorf("id: %q: %w", pb.GetId(), err)
		}
	}
	namespace, _, _ := strings.Cut(service, "/")
	e.Workload = namespace + "/" + pb.GetWorkload()
	e.Key = fmt.Sprintf("%s %s:%d/%d", e.Workload, e.Address, mesh, target)
	if e.UDP {
		e.Key += "/udp"
	}
	return e, nil
}

// choose makes the set of those endpoints that have all the labels.
func (s *endpoints) choose(key, service string, labels map[string]string) *table.EndpointSet {
	set := &table.EndpointSet{Key: key, Service: service}
	if s == nil {
		return set
	}
	for _, e := range s.all {
		if hasAll(e.labels, labels) {
			set.Endpoints = append(set.Endpoints, e.endpoint)
		}
	}
	return set
}

func hasAll(have, want map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}
