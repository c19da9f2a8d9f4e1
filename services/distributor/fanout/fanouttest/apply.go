package fanouttest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/modelpb"
)

// apply takes an update, checks it against the contract and answers it. The caller holds mu.
func (s *Sidecar) apply(u *configpb.Update) {
	vector, err := modelpb.VectorFromProto(u.GetVector())
	if err != nil {
		s.t.Errorf("%s: vector: %v", s.name, err)
	}
	if vector.Behind(s.vector) {
		s.t.Errorf("%s: led backwards from %v to %v", s.name, s.vector, vector)
	}
	s.vector = vector
	s.updates++
	s.received += len(u.GetResources()) + len(u.GetIndex())
	s.current = s.current || u.GetCurrent()
	ack := &configpb.Ack{Nonce: u.GetNonce()}
	for _, name := range u.GetRemoved() {
		delete(s.held, name)
		delete(s.offered, name)
		s.removed = append(s.removed, name)
	}
	for _, r := range u.GetResources() {
		if r.GetVersion() == s.offered[r.GetName()] {
			s.t.Errorf("%s: %s was sent again at the same version", s.name, r.GetName())
		}
		s.offered[r.GetName()] = r.GetVersion()
		if reason, bad := s.refuse[r.GetName()]; bad {
			ack.Nacks = append(ack.Nacks, &configpb.Nack{Resource: r.GetName(), Version: r.GetVersion(), Error: reason})
			continue
		}
		s.held[r.GetName()] = r
	}
	for _, shard := range u.GetIndex() {
		s.index[shard.GetShard()] = shard
	}
	s.checkWhole()
	if want := digest(s.offered); s.current && !bytes.Equal(want, u.GetDigest()) {
		s.t.Errorf("%s: digest %x of %v, the distributor says %x", s.name, want, s.offered, u.GetDigest())
	}
	if s.silent {
		s.unacked = append(s.unacked, u.GetNonce())
		return
	}
	_ = s.stream.Send(&configpb.StreamRequest{Request: &configpb.StreamRequest_Ack{Ack: ack}})
}

// checkWhole checks that no service body is held without the endpoints of every backend that it names.
func (s *Sidecar) checkWhole() {
	for name, r := range s.held {
		body := r.GetService()
		if body == nil {
			continue
		}
		need := []string{body.GetName()}
		for _, rule := range body.GetRules() {
			for _, b := range rule.GetBackends() {
				if !b.GetMissing() {
					need = append(need, b.GetService())
				}
			}
		}
		for _, svc := range need {
			if _, ok := s.offered["endpoints/"+svc]; !ok {
				s.t.Errorf("%s: %s is held without endpoints of %s", s.name, name, svc)
			}
		}
	}
}

func digest(versions map[string]string) []byte {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		fmt.Fprintf(sum, "%s\x00%s\n", name, versions[name])
	}
	return sum.Sum(nil)[:8]
}
