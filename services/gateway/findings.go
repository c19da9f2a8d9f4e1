package gateway

import (
	"fmt"
	"slices"
	"strings"
	"time"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
)

// view is everything that a check looks at, read once. The findings are a pure function of it.
type view struct {
	status  *adminpb.GetStatusResponse
	now     time.Time
	svidTTL time.Duration
	// sees says of which namespaces everything was read: of others nothing is said to be missing.
	sees func(namespace string) bool

	// catalogueRead says that services and workloads are all there are: without it nothing is said to be missing.
	catalogueRead bool
	services      []model.Service
	workloads     []model.Workload
	routes        []model.Route
	policies      []model.AccessPolicy

	out []*adminpb.Finding
}

func (v *view) add(severity adminpb.Severity, subject, remedy, format string, args ...any) {
	v.out = append(v.out, &adminpb.Finding{Severity: severity, Subject: subject, Message: fmt.Sprintf(format, args...), Remedy: remedy})
}

func (v *view) fail(subject, remedy, format string, args ...any) {
	v.add(adminpb.Severity_SEVERITY_ERROR, subject, remedy, format, args...)
}

func (v *view) warn(subject, remedy, format string, args ...any) {
	v.add(adminpb.Severity_SEVERITY_WARNING, subject, remedy, format, args...)
}

// findings looks at everything; a topic without a finding gets one that says so.
func (v *view) findings() []*adminpb.Finding {
	topics := []struct {
		subject string
		count   int
		look    func()
	}{
		{"components", len(v.status.GetComponents()), v.checkComponents},
		{"sidecars", len(v.status.GetSidecars()), v.checkSidecars},
		{"services", len(v.services), v.checkServices},
		{"workloads", len(v.workloads), v.checkWorkloads},
		{"routes", len(v.routes), v.checkRoutes},
		{"access policies", len(v.policies), v.checkPolicies},
	}
	for _, t := range topics {
		before := len(v.out)
		t.look()
		if len(v.out) == before {
			v.add(adminpb.Severity_SEVERITY_OK, t.subject, "", "%d looked at, nothing found", t.count)
		}
	}
	return v.out
}

func (v *view) checkComponents() {
	for _, c := range v.status.GetComponents() {
		if c.GetReady() {
			continue
		}
		subject := "component " + c.GetComponent()
		if c.GetReplica() != "" {
			subject += " " + c.GetReplica()
		}
		v.fail(subject, "see whether weft-"+c.GetComponent()+" runs, and its log and /readyz; sidecars serve on without it", "%s", c.GetMessage())
	}
}

func (v *view) checkSidecars() {
	for _, c := range v.status.GetSidecars() {
		subject := "sidecar " + nameOf(c)
		if !c.GetConnected() {
			v.warn(subject, "see whether its program still runs and reaches the distributor; delete the workload if it is gone for good",
				"is registered but connected to no replica: it works with what it had")
			continue
		}
		for _, n := range c.GetNacks() {
			v.fail(subject, "upgrade the sidecar or mend the object that the resource is made from", "refuses %s: %s", n.GetResource(), n.GetError())
		}
		if c.GetBehind() && len(c.GetNacks()) == 0 {
			v.warn(subject, "wait a moment and check again; if it stays, look at the sidecar's log", "has not applied the newest configuration")
		}
		v.checkSVID(subject, c)
	}
}

// checkSVID knows when an SVID ends, and from the lifetime that identity issues, when it should have been renewed.
func (v *view) checkSVID(subject string, c *configpb.SidecarStatus) {
	if c.GetSvidExpireTime() == nil {
		return
	}
	left := c.GetSvidExpireTime().AsTime().Sub(v.now)
	const remedy = "see that identity is ready and that the sidecar reaches it"
	switch slack := v.svidTTL / 20; {
	case left <= 0:
		v.fail(subject, remedy+"; then start the program again with a new join token", "its SVID ran out %s ago", -left.Round(time.Second))
	case left < v.svidTTL/3:
		v.warn(subject, remedy+" before then: it is refused by every peer afterwards, and needs a new join token",
			"its SVID has less than a third of its life left and was not renewed; it runs out in %s", left.Round(time.Second))
	case left < v.svidTTL/2-slack:
		v.warn(subject, remedy, "its SVID is past half of its life and was not renewed; %s are left", left.Round(time.Second))
	}
}

func (v *view) checkServices() {
	for i := range v.services {
		s := &v.services[i]
		subject := "service " + s.Key.String()
		endpoints := model.Endpoints(s, v.workloads)
		ready := slices.ContainsFunc(endpoints, func(e model.Endpoint) bool {
			return e.State != model.WorkloadUnknown && e.State != model.WorkloadDraining
		})
		switch {
		case len(s.Accounts) == 0:
			v.warn(subject, "list the accounts that may serve it in spec.accounts", "allows no account, so nothing can serve it")
		case len(endpoints) == 0:
			v.warn(subject, fmt.Sprintf("start a program with weft run --service %s and one of the accounts %q", s.Name, s.Accounts),
				"has no endpoints: requests to it fail with no_endpoint")
		case !ready:
			v.warn(subject, "see why its workloads lost their leases", "has only endpoints that are draining or whose lease ran out")
		}
	}
}

func (v *view) checkWorkloads() {
	for i := range v.workloads {
		w := &v.workloads[i]
		subject := "workload " + w.Key.String()
		if w.State == model.WorkloadUnknown {
			v.warn(subject, "see whether its program still runs; delete the workload if it is gone for good", "its lease ran out without a deregistration")
		}
		for _, name := range w.Services {
			key := model.Key{Namespace: w.Namespace, Name: name}
			switch s := v.service(key); {
			case s == nil:
				v.warn(subject, "create the service, or start the program without it", "wants to serve %q, which does not exist", key)
			case !s.Admits(w.Namespace, w.Account):
				v.fail(subject, "add the account to spec.accounts of the service", "account %q may not serve %q, which allows %q", w.Account, key, s.Accounts)
			}
		}
	}
}

func (v *view) service(key model.Key) *model.Service {
	for i := range v.services {
		if v.services[i].Key == key {
			return &v.services[i]
		}
	}
	return nil
}

func (v *view) checkRoutes() {
	for i := range v.routes {
		r := &v.routes[i]
		subject := "route " + r.Key.String()
		for _, o := range r.Overlaps(v.routes) {
			v.warn(subject, "merge the routes into one, or delete those that do not hold", "%s: %s", o.Path, o.Problem)
		}
		if !v.catalogueRead {
			continue
		}
		for _, u := range model.Unresolved(r.References(), func(_ string, key model.Key) bool { return v.service(key) != nil }) {
			v.fail(subject, "create the service or change the route", "%s: %s", u.Path, u.Problem)
		}
		v.checkBackends(subject, r)
	}
}

// checkBackends looks for labels that select nobody.
func (v *view) checkBackends(subject string, r *model.Route) {
	for i, rule := range r.Rules {
		for j, b := range rule.Backends {
			s := v.service(model.Key{Namespace: r.Namespace, Name: b.Service})
			if s == nil || b.Weight == 0 || len(b.Labels) == 0 {
				continue
			}
			serving := v.workloadsOf(s)
			if !slices.ContainsFunc(serving, func(w model.Workload) bool { return hasAll(w.Selectable, b.Labels) }) {
				v.fail(subject, "start a workload with these labels, or change the route",
					"spec.rules[%d].backends[%d]: no workload of service %q has the labels %s; its share of the traffic fails with no_endpoint",
					i, j, s.Key, labelText(b.Labels))
			}
		}
	}
}

func hasAll(have, want map[string]string) bool {
	for k, value := range want {
		if have[k] != value {
			return false
		}
	}
	return true
}

func labelText(labels map[string]string) string {
	var parts []string
	for k, value := range labels {
		parts = append(parts, k+"="+value)
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

func (v *view) checkPolicies() {
	if !v.catalogueRead {
		return
	}
	for i := range v.policies {
		p := &v.policies[i]
		subject := "access policy " + p.Key.String()
		if !v.anyone(p.Namespace, p.Account) {
			v.warn(subject, "see that spec.destination.account is spelled right, or delete the policy",
				"protects nobody: no workload of namespace %q has account %q", p.Namespace, p.Account)
		}
		for j, rule := range p.Allow {
			for k, from := range rule.From {
				namespace := from.Namespace
				if namespace == "" {
					namespace = p.Namespace
				}
				if v.sees(namespace) && !v.anyone(namespace, from.Account) {
					v.warn(subject, "see that the source is spelled right; it takes effect when such a workload starts",
						"spec.allow[%d].from[%d]: there is no workload of %s", j, k, sourceText(namespace, from.Account))
				}
			}
		}
	}
}

// anyone says whether a workload has the account; an empty account means any of the namespace.
func (v *view) anyone(namespace, account string) bool {
	return slices.ContainsFunc(v.workloads, func(w model.Workload) bool {
		return w.Namespace == namespace && (account == "" || w.Account == account)
	})
}

func sourceText(namespace, account string) string {
	if account == "" {
		return fmt.Sprintf("namespace %q", namespace)
	}
	return fmt.Sprintf("account %q", namespace+"/"+account)
}
