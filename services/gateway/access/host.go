package access

import (
	"slices"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/services/internal/fault"
)

// Host keeps a host's credential to what starts workloads and tells how they are: a host that was broken into must not be able
// to write policy. Its grants say in which namespaces.
type Host struct {
	// Name of the host, for people.
	Name string
	// Accounts of its workloads; none: any.
	Accounts []string
}

func (h *Host) same(o *Host) bool {
	if h == nil || o == nil {
		return h == o
	}
	return h.Name == o.Name && slices.Equal(h.Accounts, o.Accounts)
}

// Hosts says what a method is good for to a host's credential. The zero value is nothing.
type Hosts uint8

// What it may be good for.
const (
	_ Hosts = iota
	// ByGrants: what it is to everybody with such grants.
	ByGrants
	// ForAccounts: the same, when it is about one of the host's accounts.
	ForAccounts
	// ForItself: it is about the host's own credential, whatever role others need.
	ForItself
)

// judgeHost says why a host may not make a request. With done there is nothing more to judge.
func (r Rule) judgeHost(p Principal, method string, objects []Object) (done bool, err error) {
	switch r.Hosts {
	case ByGrants:
		return false, nil
	case ForAccounts:
		namespaces, _ := p.Namespaces()
		for _, o := range objects {
			if !slices.Contains(namespaces, o.Namespace) {
				return false, fault.New(fault.Denied, "host %q may start workloads in %s, not in namespace %q", p.Host.Name, quoted(namespaces), o.Namespace)
			}
			if a := p.Host.Accounts; o.Kind == r.Kind && len(a) > 0 && !slices.Contains(a, o.Name) {
				return false, fault.New(fault.Denied, "host %q may start workloads with the accounts %s, not %q", p.Host.Name, quoted(a), o.Name)
			}
		}
		return false, nil
	case ForItself:
		if len(objects) != 1 || objects[0].Name != p.ID {
			return false, fault.New(fault.Denied, "host %q may delete its own credential %q only", p.Host.Name, p.ID)
		}
		return true, nil
	}
	return false, fault.New(fault.Denied, "the credential of host %q is not good for %s; ask an administrator", p.Host.Name, method[strings.LastIndexByte(method, '/')+1:])
}

func quoted(names []string) string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = strconv.Quote(name)
	}
	return strings.Join(out, ", ")
}
