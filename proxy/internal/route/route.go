package route

import (
	"github.com/weft-mesh/weft/internal/match"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// Select finds the first rule of svc that matches req and one of its backends. rnd is uniform over all uint32; every backend
// gets its weight's share of it. A nil req means a TCP connection: rules with matches never match it.
//
// Without a matching rule, rule is nil and index -1. A rule without backends (or without weight) yields a nil backend.
func Select(svc *table.Service, req flow.Request, rnd uint32) (rule *table.Rule, index int, backend *table.Backend) {
	for i := range svc.Rules {
		r := &svc.Rules[i]
		if fits(r.Matches, req) {
			return r, i, pick(r, rnd)
		}
	}
	return nil, -1, nil
}

func fits(matches []match.HTTP, req flow.Request) bool {
	if len(matches) == 0 {
		return true
	}
	return req != nil && match.Any(matches, req)
}

// pick scales rnd to [0, TotalWeight) by multiplication: no division, and no bias beyond 2^-32.
func pick(r *table.Rule, rnd uint32) *table.Backend {
	if r.TotalWeight == 0 {
		return nil
	}
	point := uint32(uint64(rnd) * uint64(r.TotalWeight) >> 32)
	for i := range r.Backends {
		b := &r.Backends[i]
		if point < b.Weight {
			return b
		}
		point -= b.Weight
	}
	return nil
}
