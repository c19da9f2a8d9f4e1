package compile

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/weft-mesh/weft/services/internal/model"
)

// formVersion begins every canonical form; raise it when the meaning of a form changes, and every resource is sent again.
const formVersion = "weft/1"

// canon writes a body's canonical form into a hash: every string with its length before it, every list with its count, maps
// in order of key. It is ours alone, so that versions stay the same when the wire format or its library changes.
type canon struct {
	sum hash.Hash
	tmp [binary.MaxVarintLen64]byte
}

// version hashes a body of a kind. Sixteen bytes: nobody can make two contents of one version.
func version(kind string, body Body) string {
	c := &canon{sum: sha256.New()}
	c.text(formVersion)
	c.text(kind)
	body.write(c)
	return base64.RawURLEncoding.EncodeToString(c.sum.Sum(nil)[:16])
}

func (c *canon) number(n uint64) {
	c.sum.Write(c.tmp[:binary.PutUvarint(c.tmp[:], n)])
}

func (c *canon) text(s string) {
	c.number(uint64(len(s)))
	c.sum.Write([]byte(s))
}

func (c *canon) flag(b bool) {
	if b {
		c.number(1)
	} else {
		c.number(0)
	}
}

// flags writes one number, which is that of flag when only the first is set.
func (c *canon) flags(list ...bool) {
	n := uint64(0)
	for i, b := range list {
		if b {
			n |= 1 << i
		}
	}
	c.number(n)
}

func (c *canon) duration(d time.Duration) { c.number(uint64(d)) }

func (c *canon) address(a netip.Addr) {
	raw, _ := a.MarshalBinary() // never fails
	c.text(string(raw))
}

func (c *canon) texts(list []string) {
	c.number(uint64(len(list)))
	for _, s := range list {
		c.text(s)
	}
}

func (c *canon) labels(m map[string]string) {
	c.number(uint64(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		c.text(k)
		c.text(m[k])
	}
}

func (c *canon) matches(list []model.HTTPMatch) {
	c.number(uint64(len(list)))
	for _, m := range list {
		c.flag(m.Path != nil)
		if m.Path != nil {
			c.match(*m.Path)
		}
		c.texts(m.Methods)
		c.number(uint64(len(m.Headers)))
		for _, h := range m.Headers {
			c.text(h.Name)
			c.match(h.StringMatch)
		}
	}
}

func (c *canon) match(m model.StringMatch) {
	c.number(uint64(m.Kind))
	c.text(m.Value)
}

func (c *canon) ports(list []ServicePort) {
	c.number(uint64(len(list)))
	for _, p := range list {
		c.number(uint64(p.Port))
		c.number(uint64(p.Protocol))
	}
}

func (m *Mesh) write(c *canon) {
	c.text(m.TrustDomain)
	c.number(uint64(m.MTLS))
	c.number(uint64(m.Balancing))
	c.number(uint64(m.RetryPercent))
	c.number(uint64(m.RetryMinPerSecond))
}

func (b *TrustBundle) write(c *canon) {
	c.text(b.TrustDomain)
	c.number(uint64(len(b.Authorities)))
	for _, der := range b.Authorities {
		c.text(string(der))
	}
}

func (i *Inbound) write(c *canon) {
	c.text(i.Namespace)
	c.text(i.Account)
	c.text(i.Workload)
	c.labels(i.Labels)
	c.number(uint64(len(i.Ports)))
	for _, p := range i.Ports {
		c.text(p.Service)
		c.number(uint64(p.Port))
		c.number(uint64(p.TargetPort))
		c.number(uint64(p.Protocol))
	}
}

func (a *Access) write(c *canon) {
	c.flag(a.Open)
	c.number(uint64(len(a.Rules)))
	for _, r := range a.Rules {
		c.text(r.Name)
		c.texts(r.IDs)
		c.texts(r.IDPrefixes)
		c.matches(r.Matches)
	}
}

func (s *Service) write(c *canon) {
	c.text(s.Name)
	c.ports(s.Ports)
	c.text(s.Route)
	c.number(uint64(len(s.Rules)))
	for _, r := range s.Rules {
		c.matches(r.Matches)
		c.duration(r.Timeout)
		c.number(uint64(r.RetryAttempts))
		c.duration(r.PerTry)
		c.number(uint64(len(r.RetryStatuses)))
		for _, status := range r.RetryStatuses {
			c.number(uint64(status))
		}
		c.number(uint64(len(r.Backends)))
		for _, b := range r.Backends {
			c.text(b.Service.Namespace)
			c.text(b.Service.Name)
			c.labels(b.Labels)
			c.number(uint64(b.Weight))
			c.flag(b.Missing)
		}
	}
}

func (e *EndpointSet) write(c *canon) {
	c.text(e.Service)
	c.texts(e.IDs)
	c.number(uint64(len(e.Endpoints)))
	for i := range e.Endpoints {
		c.endpoint(&e.Endpoints[i])
	}
}

func (c *canon) endpoint(p *Endpoint) {
	c.text(p.Workload)
	c.address(p.Address)
	c.number(uint64(p.MeshPort))
	c.number(uint64(p.Port))
	c.number(uint64(p.TargetPort))
	c.labels(p.Labels)
	c.text(p.ID)
	c.flag(p.Unknown)
	c.flags(p.Draining, p.UDP)
}

func (a *Address) write(c *canon) {
	c.address(a.Address)
	c.number(uint64(len(a.Ports)))
	for i := range a.Ports {
		p := &a.Ports[i]
		c.text(p.Service)
		c.number(uint64(p.Protocol))
		c.endpoint(&p.Endpoint)
	}
}

func (e *Egress) write(c *canon) {
	c.flag(e.Strict)
	c.number(uint64(len(e.Services)))
	for _, s := range e.Services {
		c.text(s.Name)
		c.texts(s.Hosts)
		c.texts(s.Addresses)
		c.number(uint64(len(s.Ports)))
		for _, p := range s.Ports {
			c.number(uint64(p))
		}
	}
}

func (s *Shard) write(c *canon) {
	c.number(uint64(s.Number))
	c.number(uint64(len(s.Entries)))
	for _, e := range s.Entries {
		c.text(e.Name)
		c.address(e.VirtualAddress)
		c.ports(e.Ports)
		c.flag(e.Meshed)
	}
}
