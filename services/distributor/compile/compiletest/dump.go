package compiletest

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/model"
)

// Dump prints a state without versions and vectors: those are hashes and history, and would hide a difference that matters.
func Dump(s *compile.State, w *compile.World) string {
	var b strings.Builder
	resource(&b, "", s.Mesh())
	resource(&b, "", s.Bundle())
	resource(&b, "", s.Egress())
	resource(&b, " (no policy)", s.Access(compile.Account{}))
	for _, a := range accounts(w) {
		resource(&b, " of "+a.Namespace+"/"+a.Name, s.Access(a))
	}
	for _, k := range keys(w.Workloads) {
		resource(&b, " of "+k.String(), s.Inbound(k, ""))
	}
	for _, k := range keys(w.Services) {
		for _, r := range []*compile.Resource{s.Service(k), s.Endpoints(k)} {
			resource(&b, "", r)
		}
		fmt.Fprintf(&b, "closure of %s:", k)
		for _, r := range s.Closure(k) {
			b.WriteString(" " + r.Name)
		}
		b.WriteString("\n")
	}
	for _, a := range addresses(w) {
		resource(&b, "", s.Address(a))
	}
	for n := range uint32(compile.Shards) {
		for _, e := range s.Shard(n).Entries {
			fmt.Fprintf(&b, "index %d: %+v\n", n, e)
		}
	}
	return b.String()
}

// Versions lists every version of a state by name, to compare states.
func Versions(s *compile.State, w *compile.World) map[string]string {
	out := map[string]string{}
	add := func(owner string, r *compile.Resource) { out[owner+r.Name] = fmt.Sprint(r.Version, r.Origins) }
	add("", s.Mesh())
	add("", s.Bundle())
	add("", s.Egress())
	for _, a := range addresses(w) {
		add("", s.Address(a))
	}
	add("", s.Access(compile.Account{}))
	for _, a := range accounts(w) {
		add(a.Namespace+"/"+a.Name+":", s.Access(a))
	}
	for k := range w.Workloads {
		add(k.String()+":", s.Inbound(k, ""))
	}
	for k := range w.Services {
		add("", s.Service(k))
		add("", s.Endpoints(k))
	}
	for n := range uint32(compile.Shards) {
		out[fmt.Sprint("index/", n)] = s.Shard(n).Version
	}
	out["resources"] = fmt.Sprint(s.Resources())
	return out
}

func accounts(w *compile.World) []compile.Account {
	seen := map[compile.Account]bool{}
	for _, p := range w.Policies {
		seen[compile.Account{Namespace: p.Namespace, Name: p.Account}] = true
	}
	for _, wl := range w.Workloads {
		seen[compile.AccountOf(wl)] = true
	}
	var out []compile.Account
	for a := range seen {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b compile.Account) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return out
}

// addresses of all workloads, in order.
func addresses(w *compile.World) []netip.Addr {
	var out []netip.Addr
	for _, wl := range w.Workloads {
		if wl.Address.IsValid() {
			out = append(out, wl.Address)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

func keys[T any](m map[model.Key]*T) []model.Key {
	var out []model.Key
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b model.Key) int { return strings.Compare(a.String(), b.String()) })
	return out
}

func resource(b *strings.Builder, owner string, r *compile.Resource) {
	fmt.Fprintf(b, "%s%s\n", r.Name, owner)
	switch body := r.Body.(type) {
	case *compile.TrustBundle:
		fmt.Fprintf(b, "    %s %q\n", body.TrustDomain, body.Authorities)
	case *compile.Access:
		fmt.Fprintf(b, "    open %v\n", body.Open)
		for _, rule := range body.Rules {
			fmt.Fprintf(b, "    rule %s ids %q prefixes %q%s\n", rule.Name, rule.IDs, rule.IDPrefixes, matches(rule.Matches))
		}
	case *compile.Inbound:
		fmt.Fprintf(b, "    %s/%s as %s %v\n", body.Namespace, body.Workload, body.Account, body.Labels)
		for _, p := range body.Ports {
			fmt.Fprintf(b, "    port %s:%d to %d protocol %d\n", p.Service, p.Port, p.TargetPort, p.Protocol)
		}
	case *compile.Service:
		service(b, body)
	case *compile.EndpointSet:
		fmt.Fprintf(b, "    ids %q\n", body.IDs)
		for _, e := range body.Endpoints {
			fmt.Fprintf(b, "    %+v\n", e)
		}
	default:
		fmt.Fprintf(b, "    %+v\n", body)
	}
	for _, o := range r.Origins {
		fmt.Fprintf(b, "    from %s %s %s\n", o.Kind, o.Key, o.Etag)
	}
}

func service(b *strings.Builder, s *compile.Service) {
	fmt.Fprintf(b, "    ports %v route %q\n", s.Ports, s.Route)
	for _, r := range s.Rules {
		fmt.Fprintf(b, "    rule%s timeout %s retry %d/%s/%v\n", matches(r.Matches), r.Timeout, r.RetryAttempts, r.PerTry, r.RetryStatuses)
		for _, d := range r.Backends {
			fmt.Fprintf(b, "        backend %s%v weight %d missing %v\n", d.Service, d.Labels, d.Weight, d.Missing)
		}
	}
}

func matches(list []model.HTTPMatch) string {
	var b strings.Builder
	for _, m := range list {
		b.WriteString(" match")
		if m.Path != nil {
			fmt.Fprintf(&b, " path %d:%s", m.Path.Kind, m.Path.Value)
		}
		fmt.Fprintf(&b, " methods %v headers %v", m.Methods, m.Headers)
	}
	return b.String()
}
