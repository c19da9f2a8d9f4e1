package model

import (
	"slices"
	"time"
)

// Bounds of what policies say.
const (
	maxWeight   = 1_000_000
	maxAttempts = 10
	maxDuration = time.Hour
)

// Validate lists the rules that a route breaks.
func (r *Route) Validate() []Violation {
	var v violations
	v.meta(&r.Meta)
	v.label("spec.service", r.Service)
	for i := range r.Rules {
		v.rule(index("spec.rules", i), &r.Rules[i])
	}
	return v
}

func (v *violations) rule(path string, r *RouteRule) {
	v.matches(path+".match", r.Match)
	if len(r.Backends) == 0 {
		v.add(path+".backends", "is empty; a rule needs at least one backend (weight 0 means no traffic)")
	}
	for i, b := range r.Backends {
		at := index(path+".backends", i)
		v.label(at+".service", b.Service)
		v.selectable(at+".labels", b.Labels)
		if b.Weight > maxWeight {
			v.add(at+".weight", "%d is too much; a weight is 0 to %d", b.Weight, maxWeight)
		}
	}
	v.duration(path+".timeout", r.Timeout)
	if r.Retry != nil {
		v.retry(path+".retry", r.Retry)
	}
}

func (v *violations) retry(path string, r *RetryPolicy) {
	if r.Attempts < 1 || r.Attempts > maxAttempts {
		v.add(path+".attempts", "%d is not allowed; must be 1 to %d", r.Attempts, maxAttempts)
	}
	v.duration(path+".perTryTimeout", r.PerTry)
	for i, s := range r.Statuses {
		if s < 500 || s > 599 {
			v.add(index(path+".statuses", i), "%d is not allowed; only 500 to 599 are retried", s)
		} else if slices.Contains(r.Statuses[:i], s) {
			v.add(index(path+".statuses", i), "%d is listed twice; each status is listed once", s)
		}
	}
}

// duration checks an optional duration; zero means that it is absent.
func (v *violations) duration(path string, d time.Duration) {
	if d < 0 || d > maxDuration {
		v.add(path, "%s is not allowed; must be more than 0 and at most 1h", d)
	}
}

// Validate lists the rules that an access policy breaks.
func (p *AccessPolicy) Validate() []Violation {
	var v violations
	v.meta(&p.Meta)
	v.label("spec.destination.account", p.Account)
	for i, rule := range p.Allow {
		path := index("spec.allow", i)
		for j, from := range rule.From {
			at := index(path+".from", j)
			if from == (AccessSource{}) {
				v.add(at, "names nobody; give account, namespace or both")
				continue
			}
			if from.Account != "" {
				v.label(at+".account", from.Account)
			}
			if from.Namespace != "" {
				v.label(at+".namespace", from.Namespace)
			}
		}
		v.matches(path+".to", rule.To)
	}
	return v
}

// Validate lists the rules that a mesh configuration breaks.
func (c *MeshConfig) Validate() []Violation {
	var v violations
	v.meta(&c.Meta)
	if c.Key != (Key{DefaultNamespace, MeshConfigName}) {
		v.add("metadata.name", "%q is not allowed; there is one MeshConfig, named %s in namespace %s", clip(c.Key.String()), MeshConfigName, DefaultNamespace)
	}
	if c.MTLS > MTLSStrict {
		v.add("spec.mtls", "must be off, permissive or strict, or left out")
	}
	if c.Access > AccessDeny {
		v.add("spec.access", "must be allow or deny, or left out")
	}
	if c.Balancing > BalancingLeastRequest {
		v.add("spec.balancing", "must be peak_ewma, round_robin or least_request, or left out")
	}
	if c.Egress > EgressStrict {
		v.add("spec.egress", "must be open or strict, or left out")
	}
	if b := c.RetryBudget; b != nil {
		if b.Percent > 100 {
			v.add("spec.retryBudget.percent", "%d is not allowed; must be 0 to 100", b.Percent)
		}
		if b.MinPerSecond > maxWeight {
			v.add("spec.retryBudget.minPerSecond", "%d is not allowed; must be 0 to %d", b.MinPerSecond, maxWeight)
		}
	}
	return v
}
