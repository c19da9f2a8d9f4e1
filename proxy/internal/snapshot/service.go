package snapshot

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/match"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// service is a decoded body whose backends are still names: endpoints change more often than routes do.
type service struct {
	name      string
	ports     []table.ServicePort
	rules     []rule
	route     string
	balancing typepb.Balancing
}

type rule struct {
	matches  []match.HTTP
	backends []backend
	timeout  time.Duration
	retry    table.RetryPolicy
}

type backend struct {
	service string
	labels  map[string]string
	weight  uint32
	missing bool
}

func decodeService(pb *configpb.Service) (*service, error) {
	if err := checkName(pb.GetName()); err != nil {
		return nil, fmt.Errorf("name: %w", err)
	}
	if _, err := decodeBalancing(pb.GetBalancing(), table.PeakEWMA); err != nil {
		return nil, err
	}
	s := &service{name: pb.GetName(), route: pb.GetRoute(), balancing: pb.GetBalancing()}
	for i, p := range pb.GetPorts() {
		number, err := decodePort(p.GetPort(), 1)
		if err != nil {
			return nil, fmt.Errorf("ports[%d].port: %w", i, err)
		}
		protocol, err := decodeProtocol(p.GetProtocol())
		if err != nil {
			return nil, fmt.Errorf("ports[%d]: %w", i, err)
		}
		s.ports = append(s.ports, table.ServicePort{Number: number, Protocol: protocol})
	}
	slices.SortFunc(s.ports, func(a, b table.ServicePort) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Protocol, b.Protocol))
	})
	for i, r := range pb.GetRules() {
		decoded, err := decodeRule(r)
		if err != nil {
			return nil, fmt.Errorf("rules[%d]: %w", i, err)
		}
		s.rules = append(s.rules, decoded)
	}
	return s, nil
}

func decodeRule(pb *configpb.RouteRule) (rule, error) {
	var r rule
	var err error
	if r.matches, err = decodeMatches(pb.GetMatches()); err != nil {
		return r, err
	}
	if r.timeout, err = decodeDuration(pb.GetTimeout()); err != nil {
		return r, fmt.Errorf("timeout: %w", err)
	}
	if r.retry.PerTry, err = decodeDuration(pb.GetPerTryTimeout()); err != nil {
		return r, fmt.Errorf("per_try_timeout: %w", err)
	}
	if pb.GetRetryAttempts() > 100 {
		return r, fmt.Errorf("retry_attempts: %d is more than 100", pb.GetRetryAttempts())
	}
	r.retry.Attempts = int(pb.GetRetryAttempts())
	for _, status := range pb.GetRetryStatuses() {
		if status < 100 || status > 599 {
			return r, fmt.Errorf("retry_statuses: %d is not an HTTP status", status)
		}
		r.retry.Statuses = append(r.retry.Statuses, int(status))
	}
	total := uint64(0)
	for i, b := range pb.GetBackends() {
		if err := checkName(b.GetService()); err != nil {
			return r, fmt.Errorf("backends[%d].service: %w", i, err)
		}
		if total += uint64(b.GetWeight()); total > math.MaxUint32 {
			return r, fmt.Errorf("backends[%d].weight: the sum of the weights is too large", i)
		}
		r.backends = append(r.backends, backend{b.GetService(), b.GetLabels(), b.GetWeight(), b.GetMissing()})
	}
	return r, nil
}

// setKey identifies a service's endpoints with some labels: "namespace/name" or "namespace/name{k=v,…}" in order of key.
func setKey(service string, labels map[string]string) string {
	if len(labels) == 0 {
		return service
	}
	pairs := make([]string, 0, len(labels))
	for k, v := range labels {
		pairs = append(pairs, k+"="+v)
	}
	slices.Sort(pairs)
	return service + "{" + strings.Join(pairs, ",") + "}"
}
