// Package spiffe is how both halves of Weft name, hold and verify identities: SPIFFE IDs of workloads and of the control
// plane, the current SVID with its bundle, and TLS configurations that check the SPIFFE rules on every handshake.
package spiffe

import (
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// SystemNamespace is the namespace of the control plane's own accounts.
const SystemNamespace = "weft-system"

// Account is what a SPIFFE ID of Weft says: an account in a namespace. It is comparable.
type Account struct {
	Namespace string
	Name      string
}

// String is "namespace/name".
func (a Account) String() string { return a.Namespace + "/" + a.Name }

// ID is the SPIFFE ID of an account: spiffe://<td>/ns/<namespace>/sa/<account>.
func ID(td spiffeid.TrustDomain, a Account) (spiffeid.ID, error) {
	id, err := spiffeid.FromSegments(td, "ns", a.Namespace, "sa", a.Name)
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("SPIFFE ID of account %q: %w", a, err)
	}
	return id, nil
}

// ParseID takes the account out of a SPIFFE ID of Weft's form; any other path is an error.
func ParseID(id spiffeid.ID) (Account, error) {
	rest, ok := strings.CutPrefix(id.Path(), "/ns/")
	if !ok {
		return Account{}, fmt.Errorf("SPIFFE ID %q: path is not /ns/<namespace>/sa/<account>", id)
	}
	ns, name, ok := strings.Cut(rest, "/sa/")
	if !ok || ns == "" || name == "" || strings.Contains(ns, "/") || strings.Contains(name, "/") {
		return Account{}, fmt.Errorf("SPIFFE ID %q: path is not /ns/<namespace>/sa/<account>", id)
	}
	return Account{Namespace: ns, Name: name}, nil
}
