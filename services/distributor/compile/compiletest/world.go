package compiletest

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/model"
)

// World reads a description; see the package's comment.
func World(t testing.TB, text string) *compile.World {
	t.Helper()
	p := &parser{t: t, w: &compile.World{
		Vector:    Vector(1, 1, 1),
		Services:  map[model.Key]*model.Service{},
		Workloads: map[model.Key]*model.Workload{},
		Routes:    map[model.Key]*model.Route{},
		Policies:  map[model.Key]*model.AccessPolicy{},
		Externals: map[model.Key]*model.ExternalService{},
		Bundle:    &compile.Bundle{TrustDomain: "weft.local", Authorities: [][]byte{[]byte("root")}},
	}}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		p.line = line
		p.parse(strings.Fields(line))
	}
	return p.w
}

// Vector makes a vector of epoch "e".
func Vector(policy, discovery, identity uint64) model.Vector {
	return model.Vector{
		Policy:    model.Revision{Source: model.SourcePolicy, Epoch: "e", Seq: policy},
		Discovery: model.Revision{Source: model.SourceDiscovery, Epoch: "e", Seq: discovery},
		Identity:  model.Revision{Source: model.SourceIdentity, Epoch: "e", Seq: identity},
	}
}

// Key reads "namespace/name".
func Key(text string) model.Key {
	ns, name, _ := strings.Cut(text, "/")
	return model.Key{Namespace: ns, Name: name}
}

type parser struct {
	t      testing.TB
	w      *compile.World
	line   string
	route  *model.Route
	policy *model.AccessPolicy
}

// attributes of one line; what is asked for is removed, so that what is left over is a mistake.
type attributes map[string]string

func (a attributes) take(key string) string {
	v := a[key]
	delete(a, key)
	return v
}

func (a attributes) list(key string) []string {
	if v := a.take(key); v != "" {
		return strings.Split(v, ",")
	}
	return nil
}

func (p *parser) parse(fields []string) {
	p.t.Helper()
	kind, fields := fields[0], fields[1:]
	name := ""
	if len(fields) > 0 && !strings.Contains(fields[0], "=") {
		name, fields = fields[0], fields[1:]
	}
	a := attributes{}
	for _, f := range fields {
		k, v, _ := strings.Cut(f, "=")
		a[k] = v
	}
	switch kind {
	case "vector":
		p.w.Vector = Vector(p.number(a.take("policy")), p.number(a.take("discovery")), p.number(a.take("identity")))
	case "trust":
		p.trust(name, a)
	case "mesh":
		p.mesh(a)
	case "external":
		p.external(name, a)
	case "service":
		p.service(name, a)
	case "workload":
		p.workload(name, a)
	case "route":
		p.route = &model.Route{Meta: p.meta(name, a), Service: a.take("service")}
		p.w.Routes[p.route.Key] = p.route
	case "rule":
		p.rule(a)
	case "policy":
		p.policy = &model.AccessPolicy{Meta: p.meta(name, a), Account: a.take("account")}
		p.w.Policies[p.policy.Key] = p.policy
	case "allow":
		p.allow(a)
	default:
		p.fail("no such kind")
	}
	if len(a) > 0 {
		p.fail(fmt.Sprintf("attributes not understood: %v", a))
	}
}

func (p *parser) fail(problem string) {
	p.t.Helper()
	p.t.Fatalf("line %q: %s", p.line, problem)
}

func (p *parser) number(text string) uint64 {
	p.t.Helper()
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		p.fail(err.Error())
	}
	return n
}

func (p *parser) duration(text string) time.Duration {
	p.t.Helper()
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		p.fail(err.Error())
	}
	return d
}

func (p *parser) address(text string) netip.Addr {
	p.t.Helper()
	if text == "" {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		p.fail(err.Error())
	}
	return addr
}

func (p *parser) meta(name string, a attributes) model.Meta {
	return model.Meta{
		Key:        Key(name),
		Etag:       a.take("etag"),
		CreateTime: time.Unix(int64(p.number(a.take("created"))), 0).UTC(),
	}
}
