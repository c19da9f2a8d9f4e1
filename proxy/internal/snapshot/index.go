package snapshot

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"sort"
	"strings"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// Shards is the number of shards of the index.
const Shards = 64

// Index is the compact list of every service of the mesh. Names and addresses of a shard lie in one string, so that an entry
// costs its text, 16 bytes of bookkeeping and 4 bytes a port: below 64 bytes for usual names.
type Index struct {
	shards    [Shards]*shard
	addresses *byAddress
}

var _ table.Index = (*Index)(nil)

type shard struct {
	version string
	text    string  // name and address of each entry, one after the other
	entries []entry // in order of name
	ports   []table.ServicePort
}

type entry struct {
	text    uint32 // where the name begins
	ports   uint32 // where the ports begin
	nameLen uint8
	addrLen uint8
	portLen uint8
	meshed  bool
}

func newShard(pb *configpb.IndexShard) (*shard, error) {
	if pb.GetShard() >= Shards {
		return nil, fmt.Errorf("shard %d: there are only %d", pb.GetShard(), Shards)
	}
	s := &shard{version: pb.GetVersion(), entries: make([]entry, 0, len(pb.GetEntries()))}
	var text strings.Builder
	last := ""
	for _, e := range pb.GetEntries() {
		if err := checkEntry(e, pb.GetShard(), last); err != nil {
			return nil, fmt.Errorf("entry %q: %w", e.GetName(), err)
		}
		last = e.GetName()
		s.entries = append(s.entries, entry{
			text:    uint32(text.Len()),
			ports:   uint32(len(s.ports)),
			nameLen: uint8(len(e.GetName())),
			addrLen: uint8(len(e.GetVirtualAddress())),
			portLen: uint8(len(e.GetPorts())),
			meshed:  e.GetMeshed(),
		})
		text.WriteString(e.GetName())
		text.Write(e.GetVirtualAddress())
		for _, p := range e.GetPorts() {
			s.ports = append(s.ports, table.ServicePort{Number: uint16(p >> 8), Protocol: table.Protocol(p & 0xff)})
		}
	}
	s.text, s.ports = strings.Clone(text.String()), slices.Clip(s.ports)
	return s, nil
}

func checkEntry(e *configpb.IndexEntry, number uint32, last string) error {
	name := e.GetName()
	if err := checkName(name); err != nil {
		return err
	}
	if name <= last {
		return fmt.Errorf("not in order: it follows %q", last)
	}
	if got := ShardOf(name); got != number {
		return fmt.Errorf("belongs to shard %d", got)
	}
	if n := len(e.GetVirtualAddress()); n != 0 && n != 4 && n != 16 {
		return fmt.Errorf("virtual address has %d bytes", n)
	}
	if len(e.GetPorts()) > 255 {
		return errors.New("more than 255 ports")
	}
	for _, p := range e.GetPorts() {
		if p>>8 == 0 || p>>8 > 65535 || p&0xff > uint32(table.UDP) {
			return fmt.Errorf("port %d with protocol %d is not valid", p>>8, p&0xff)
		}
	}
	return nil
}

// ShardOf is the shard that a name belongs to: FNV-1a-32 modulo the number of shards.
func ShardOf(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32() % Shards
}

// Lookup finds a service by "namespace/name".
func (x *Index) Lookup(name string) (table.IndexEntry, bool) {
	s := x.shards[ShardOf(name)]
	if s == nil {
		return table.IndexEntry{}, false
	}
	i, ok := sort.Find(len(s.entries), func(i int) int { return strings.Compare(name, s.name(uint32(i))) })
	if !ok {
		return table.IndexEntry{}, false
	}
	return s.entry(uint32(i)), true
}

// Each goes through all services until yield returns false.
func (x *Index) Each(yield func(table.IndexEntry) bool) {
	for _, s := range x.shards {
		if s == nil {
			continue
		}
		for i := range s.entries {
			if !yield(s.entry(uint32(i))) {
				return
			}
		}
	}
}

// Len is the number of services.
func (x *Index) Len() int {
	n := 0
	for _, s := range x.shards {
		if s != nil {
			n += len(s.entries)
		}
	}
	return n
}

// clone is an index whose shards may be replaced until somebody looks for an address.
func (x *Index) clone() *Index {
	return &Index{shards: x.shards, addresses: &byAddress{}}
}

func (s *shard) name(i uint32) string {
	e := &s.entries[i]
	return s.text[e.text : e.text+uint32(e.nameLen)]
}

func (s *shard) addr(i uint32) string {
	e := &s.entries[i]
	from := e.text + uint32(e.nameLen)
	return s.text[from : from+uint32(e.addrLen)]
}

func (s *shard) portsOf(i uint32) []table.ServicePort {
	e := &s.entries[i]
	end := e.ports + uint32(e.portLen)
	return s.ports[e.ports:end:end]
}

func (s *shard) entry(i uint32) table.IndexEntry {
	out := table.IndexEntry{Name: s.name(i), Meshed: s.entries[i].meshed, Ports: s.portsOf(i)}
	out.VirtualAddress, _ = netip.AddrFromSlice([]byte(s.addr(i)))
	return out
}

// proto is the shard as it came, for the snapshot file.
func (s *shard) proto(number uint32) *configpb.IndexShard {
	pb := &configpb.IndexShard{Shard: number, Version: s.version}
	for i := range s.entries {
		e := &configpb.IndexEntry{Name: s.name(uint32(i)), Meshed: s.entries[i].meshed}
		for _, p := range s.portsOf(uint32(i)) {
			e.Ports = append(e.Ports, uint32(p.Number)<<8|uint32(p.Protocol))
		}
		if addr := s.addr(uint32(i)); addr != "" {
			e.VirtualAddress = []byte(addr)
		}
		pb.Entries = append(pb.Entries, e)
	}
	return pb
}
