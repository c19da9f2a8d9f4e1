package snapshot

import (
	"crypto/sha256"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
)

// FuzzApply feeds arbitrary updates: whatever is accepted must make a table and survive the file.
func FuzzApply(f *testing.F) {
	for _, u := range []*configpb.Update{
		{Resources: []*configpb.Resource{meshResource("1"), inboundResource("1")}, Index: shardsOf("1", 3)},
		{Resources: []*configpb.Resource{serviceResource("1", &configpb.Service{Name: "a/b"}), endpointsResource("1", "a/b", endpoint("w", 1, nil))}},
		{Resources: []*configpb.Resource{
			addressResource("1", &configpb.Address{Address: "127.0.0.1", Ports: []*configpb.AddressPort{at(8080)}}),
			egressResource("1", &configpb.Egress{Strict: true, Services: []*configpb.ExternalService{{Name: "a/b", Addresses: []string{"192.0.2.0/24"}}}}),
		}},
		{Removed: []string{"mesh"}, Current: true},
	} {
		raw, err := proto.Marshal(u)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	now := time.Unix(1_700_000_000, 0)
	f.Fuzz(func(t *testing.T, raw []byte) {
		u := &configpb.Update{}
		if proto.Unmarshal(raw, u) != nil {
			return
		}
		s, _ := New(owner()).Apply(u)
		s.Table(1)
		file, err := Encode(Saved{State: s, At: now})
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		back, err := Decode(owner(), file, now, time.Hour)
		if err != nil {
			t.Fatalf("decode: %v", err)
		}
		if a, b := s.Reopened().Digest(), back.State.Digest(); string(a) != string(b) {
			t.Fatalf("digest changed from %x to %x", a, b)
		}
	})
}

// FuzzDecode feeds arbitrary contents with a right checksum: they are refused or decoded, never a panic.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	raw, err := proto.Marshal(&configpb.Snapshot{TrustDomain: "weft.local", Namespace: "default", Workload: "web-1"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, content []byte) {
		sum := sha256.Sum256(content)
		saved, err := Decode(owner(), append(sum[:], content...), time.Unix(0, 0), time.Hour)
		if err == nil {
			saved.State.Table(1)
		}
	})
}
