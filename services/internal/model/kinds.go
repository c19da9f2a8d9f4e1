package model

import "strings"

// MeshConfigName is the name of the only MeshConfig, in DefaultNamespace.
const MeshConfigName = "default"

// String is the way to compare as in manifests.
func (k MatchKind) String() string {
	switch k {
	case MatchExact:
		return "exact"
	case MatchPrefix:
		return "prefix"
	case MatchRegex:
		return "regex"
	case MatchPresent:
		return "present"
	case MatchAbsent:
		return "absent"
	default:
		return "unset"
	}
}

// Admits says whether a workload of this account may be an endpoint of the service.
func (s *Service) Admits(namespace, account string) bool {
	for _, a := range s.Accounts {
		ns, name, qualified := strings.Cut(a, "/")
		if !qualified {
			ns, name = s.Namespace, ns
		}
		if ns == namespace && name == account {
			return true
		}
	}
	return false
}

// Metadata returns m: every object promotes it, so that generic code reaches what all have.
func (m *Meta) Metadata() *Meta { return m }
