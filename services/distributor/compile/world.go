package compile

import (
	"github.com/weft-mesh/weft/services/internal/model"
)

// World is everything that sidecars' configuration is made from, at one vector. Nothing reachable from it is written once it
// has been compiled: a later World may share maps and objects with it, and a shared pointer means an unchanged object.
type World struct {
	// Vector is the state of the three sources.
	Vector    model.Vector
	Services  map[model.Key]*model.Service
	Workloads map[model.Key]*model.Workload
	Routes    map[model.Key]*model.Route
	Policies  map[model.Key]*model.AccessPolicy
	// Externals are the external services.
	Externals map[model.Key]*model.ExternalService
	// Mesh is nil when nobody wrote one: all defaults hold.
	Mesh *model.MeshConfig
	// Bundle is never nil in a complete world.
	Bundle *Bundle
}

// Bundle is the trust bundle as identity hands it out.
type Bundle struct {
	TrustDomain string
	// Authorities are DER certificates in ascending order of their SHA-256.
	Authorities [][]byte
}

// Account is a pair of namespace and account.
type Account struct {
	Namespace string
	Name      string
}

// AccountOf is the account of a workload.
func AccountOf(w *model.Workload) Account {
	return Account{Namespace: w.Namespace, Name: w.Account}
}

// spiffeID is the SPIFFE ID of an account in text.
func (w *World) spiffeID(a Account) string {
	return w.spiffePrefix(a.Namespace) + a.Name
}

// spiffePrefix is what the SPIFFE IDs of all accounts of a namespace begin with.
func (w *World) spiffePrefix(namespace string) string {
	return "spiffe://" + w.Bundle.TrustDomain + "/ns/" + namespace + "/sa/"
}
