package model

import (
	"slices"
	"strings"
)

// Validate lists the rules that a service breaks.
func (s *Service) Validate() []Violation {
	var v violations
	v.meta(&s.Meta)
	for i, a := range s.Accounts {
		v.account(index("spec.accounts", i), a)
		if slices.Contains(s.Accounts[:i], a) {
			v.add(index("spec.accounts", i), "%q is listed twice; each account is listed once", a)
		}
	}
	names, numbers := map[string]bool{}, map[numbered]bool{}
	for i, p := range s.Ports {
		path := index("spec.ports", i)
		switch {
		case p.Name == "" && len(s.Ports) > 1:
			v.add(path+".name", "is missing; with several ports each has a name")
		case p.Name != "":
			v.label(path+".name", p.Name)
		}
		if names[p.Name] && p.Name != "" {
			v.add(path+".name", "%q is used twice; names of ports are unique in a service", p.Name)
		}
		if p.Port == 0 {
			v.add(path+".port", "must be 1 to 65535")
		} else if numbers[numbered{p.Port, p.Protocol.UDP()}] {
			v.add(path+".port", "%d is used twice; numbers of ports are unique in a service, those of UDP apart from the others", p.Port)
		}
		v.protocol(path+".protocol", p.Protocol)
		names[p.Name], numbers[numbered{p.Port, p.Protocol.UDP()}] = true, true
	}
	return v
}

// numbered is what tells ports apart.
type numbered struct {
	port uint16
	udp  bool
}

// account checks "account" or "namespace/account".
func (v *violations) account(path, account string) {
	namespace, name, qualified := strings.Cut(account, "/")
	if !qualified {
		name = namespace
	}
	if !IsLabel(name) || qualified && !IsLabel(namespace) {
		v.add(path, "%q must be an account, or namespace/account; each part %s", clip(account), labelRule)
	}
}

func (v *violations) protocol(path string, p Protocol) {
	if p > ProtocolUDP {
		v.add(path, "must be http, http2, grpc, tcp or udp, or left out")
	}
}

// Validate lists the rules that a workload breaks.
func (w *Workload) Validate() []Violation {
	var v violations
	v.meta(&w.Meta)
	v.label("spec.account", w.Account)
	for i, name := range w.Services {
		v.label(index("spec.services", i), name)
		if slices.Contains(w.Services[:i], name) {
			v.add(index("spec.services", i), "%q is listed twice; each service is listed once", clip(name))
		}
	}
	v.selectable("spec.labels", w.Selectable)
	if a := w.Address; !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
		v.add("spec.address", "must be the IP address of one host, reachable from the other sidecars")
	}
	numbers := map[numbered]bool{}
	for i, p := range w.Ports {
		path := index("spec.ports", i)
		if key := (numbered{p.ServicePort, p.Protocol.UDP()}); numbers[key] {
			v.add(path+".servicePort", "%d is served twice; each service port is served by one port", p.ServicePort)
		} else {
			numbers[key] = true
		}
		if p.Port == 0 {
			v.add(path+".port", "must be 1 to 65535")
		}
		v.protocol(path+".protocol", p.Protocol)
	}
	if len(w.Locality) > 128 || !isText(w.Locality) {
		v.add("spec.locality", "must be text of at most 128 bytes, for example eu-1/a")
	}
	return v
}
