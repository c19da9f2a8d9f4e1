package compile

import (
	"hash/fnv"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/services/internal/model"
)

// Shards is the number of parts of the index.
const Shards = 64

// ShardOf is the part of the index that a service belongs to: FNV-1a-32 of "namespace/name", modulo Shards.
func ShardOf(k model.Key) uint32 {
	h := fnv.New32a()
	h.Write([]byte(k.String()))
	return h.Sum32() % Shards
}

// indexEntry is the line of one service; endpoints is its compiled set.
func indexEntry(svc *model.Service, endpoints *Resource) IndexEntry {
	set, _ := endpoints.Body.(*EndpointSet)
	return IndexEntry{
		Name:           svc.Key.String(),
		VirtualAddress: svc.VirtualAddress,
		Ports:          servicePorts(svc),
		Meshed:         slices.ContainsFunc(set.Endpoints, func(e Endpoint) bool { return e.MeshPort != 0 }),
	}
}

// shard makes a part of the index out of the one before it: entries of touched names are replaced by fresh ones (absent: the
// service is gone).
func shard(number uint32, before *Shard, touched map[string]bool, fresh []IndexEntry) *Shard {
	s := &Shard{Number: number, Entries: slices.Clone(fresh)}
	if before != nil {
		for _, e := range before.Entries {
			if !touched[e.Name] {
				s.Entries = append(s.Entries, e)
			}
		}
	}
	slices.SortFunc(s.Entries, func(a, b IndexEntry) int { return strings.Compare(a.Name, b.Name) })
	s.Version = version("index", s)
	if before != nil && before.Version == s.Version {
		return before
	}
	return s
}
