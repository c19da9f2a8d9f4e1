package rpc

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/internal/spiffe"
)

// Caller is who a request came from.
type Caller struct {
	// Account of the verified peer; zero for a peer without a client certificate.
	Account spiffe.Account
	// Principal is the person on whose behalf the gateway calls (the id of a token, a SPIFFE ID, an OIDC subject); empty otherwise.
	Principal string
	// Namespaces are those that the person may see, with commas between them, so that callers can be compared; empty: all.
	Namespaces string
}

// Sees says whether the caller may be told of what is in a namespace.
func (c Caller) Sees(namespace string) bool {
	return c.Namespaces == "" || slices.Contains(strings.Split(c.Namespaces, ","), namespace)
}

// Anonymous says that the peer presented no identity.
func (c Caller) Anonymous() bool { return c.Account == spiffe.Account{} }

// System says that the caller is the named service of the control plane.
func (c Caller) System(service string) bool {
	return c.Account == spiffe.Account{Namespace: spiffe.SystemNamespace, Name: service}
}

type callerKey struct{}

// CallerFrom returns who called; the interceptors have put it there.
func CallerFrom(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// WithCaller is for the interceptors and for tests.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// Allow decides whether a caller may call a method. It returns a readable reason when not.
type Allow func(ctx context.Context, c Caller) error

// Services allows the named services of the control plane.
func Services(names ...string) Allow {
	return func(_ context.Context, c Caller) error {
		if c.Account.Namespace == spiffe.SystemNamespace && slices.Contains(names, c.Account.Name) {
			return nil
		}
		return fmt.Errorf("caller %q is not one of the services %q", c.Account, names)
	}
}

// Workloads allows every verified identity outside the control plane's namespace.
func Workloads() Allow {
	return func(_ context.Context, c Caller) error {
		if !c.Anonymous() && c.Account.Namespace != spiffe.SystemNamespace {
			return nil
		}
		return fmt.Errorf("caller %q is not a workload", c.Account)
	}
}

// Anyone allows everybody, with or without an identity.
func Anyone() Allow {
	return func(context.Context, Caller) error { return nil }
}

// Either allows what any one of several rules allows.
func Either(rules ...Allow) Allow {
	return func(ctx context.Context, c Caller) error {
		var last error
		for _, r := range rules {
			if last = r(ctx, c); last == nil {
				return nil
			}
		}
		return last
	}
}

// Registrar collects services and the rules for their methods. A method without a rule is refused to everybody.
type Registrar struct {
	server  grpc.ServiceRegistrar
	rules   map[string]Allow
	leaving map[string]bool
}

// NewRegistrar makes a registrar that adds to server.
func NewRegistrar(server grpc.ServiceRegistrar) *Registrar {
	return &Registrar{server: server, rules: map[string]Allow{}, leaving: map[string]bool{}}
}

// RegisterService makes a Registrar a grpc.ServiceRegistrar, so that generated Register functions take it.
func (r *Registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	r.server.RegisterService(desc, impl)
}

// Allow sets who may call a method, named as "/package.Service/Method".
func (r *Registrar) Allow(method string, rule Allow) {
	r.rules[method] = rule
}

// Leaves says of a streaming method that its handler returns when its context ends, whatever it is receiving in another
// goroutine. A receive then lasts until the handler has returned, and costs no goroutine of its own.
func (r *Registrar) Leaves(method string) { r.leaving[method] = true }

// AllowService sets who may call every method of a service that has no rule of its own.
func (r *Registrar) AllowService(desc *grpc.ServiceDesc, rule Allow) {
	for _, m := range desc.Methods {
		r.allowDefault("/"+desc.ServiceName+"/"+m.MethodName, rule)
	}
	for _, s := range desc.Streams {
		r.allowDefault("/"+desc.ServiceName+"/"+s.StreamName, rule)
	}
}

func (r *Registrar) allowDefault(method string, rule Allow) {
	if _, ok := r.rules[method]; !ok {
		r.rules[method] = rule
	}
}

// rule returns who may call a method, or nil when nobody has said.
func (r *Registrar) rule(method string) Allow { return r.rules[method] }
