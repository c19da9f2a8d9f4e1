package snapshot

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
)

// Reasons for which a file is refused.
var (
	ErrCorrupt = errors.New("the file is corrupt")
	ErrForeign = errors.New("the file belongs to another workload")
	ErrExpired = errors.New("the file is too old")
)

// skew is how far ahead of this machine's clock a file may have been written.
const skew = 5 * time.Minute

// Saved is what a file holds.
type Saved struct {
	// State as it was.
	State *State
	// Services is the working set: every service that was wanted.
	Services []string
	// Addresses of which it was wanted what is there.
	Addresses []netip.Addr
	// At is when it was written.
	At time.Time
}

// Encode makes the content of a snapshot file: checksum, stamp, working set and everything accepted.
func Encode(saved Saved) ([]byte, error) {
	s := saved.State
	pb := &configpb.Snapshot{
		TrustDomain: s.owner.TrustDomain.Name(),
		Namespace:   s.owner.Namespace,
		Workload:    s.owner.Workload,
		SaveTime:    timestamppb.New(saved.At),
		Vector:      s.vector,
		Resources:   s.Resources(),
		Services:    saved.Services,
	}
	for _, a := range saved.Addresses {
		pb.Addresses = append(pb.Addresses, a.String())
	}
	for i, sh := range s.index.shards {
		if sh != nil {
			pb.Index = append(pb.Index, sh.proto(uint32(i)))
		}
	}
	content, err := proto.MarshalOptions{Deterministic: true}.Marshal(pb)
	if err != nil {
		return nil, fmt.Errorf("encode snapshot: %w", err)
	}
	sum := sha256.Sum256(content)
	return append(sum[:], content...), nil
}

// Decode reads a snapshot file of this owner that is not older than maxAge. It gives all or nothing: a file with one resource
// that this program refuses is refused.
func Decode(owner Owner, file []byte, now time.Time, maxAge time.Duration) (Saved, error) {
	if len(file) < sha256.Size {
		return Saved{}, fmt.Errorf("decode snapshot: %w: %d bytes", ErrCorrupt, len(file))
	}
	content := file[sha256.Size:]
	if sum := sha256.Sum256(content); !bytes.Equal(sum[:], file[:sha256.Size]) {
		return Saved{}, fmt.Errorf("decode snapshot: %w: its checksum differs", ErrCorrupt)
	}
	pb := &configpb.Snapshot{}
	if err := proto.Unmarshal(content, pb); err != nil {
		return Saved{}, fmt.Errorf("decode snapshot: %w: %w", ErrCorrupt, err)
	}
	if err := checkStamp(owner, pb, now, maxAge); err != nil {
		return Saved{}, fmt.Errorf("decode snapshot: %w", err)
	}
	state, nacks := New(owner).Apply(&configpb.Update{Resources: pb.GetResources(), Index: pb.GetIndex(), Vector: pb.GetVector()})
	if len(nacks) > 0 {
		return Saved{}, fmt.Errorf("decode snapshot: resource %q: %s", nacks[0].GetResource(), nacks[0].GetError())
	}
	saved := Saved{State: state, Services: pb.GetServices(), At: pb.GetSaveTime().AsTime()}
	for _, text := range pb.GetAddresses() {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return Saved{}, fmt.Errorf("decode snapshot: %w: address: %w", ErrCorrupt, err)
		}
		saved.Addresses = append(saved.Addresses, addr)
	}
	return saved, nil
}

func checkStamp(owner Owner, pb *configpb.Snapshot, now time.Time, maxAge time.Duration) error {
	if pb.GetTrustDomain() != owner.TrustDomain.Name() {
		return fmt.Errorf("%w: it is of trust domain %q, this sidecar of %q", ErrForeign, pb.GetTrustDomain(), owner.TrustDomain.Name())
	}
	if pb.GetNamespace() != owner.Namespace || pb.GetWorkload() != owner.Workload {
		return fmt.Errorf("%w: %s/%s, this is %s/%s", ErrForeign, pb.GetNamespace(), pb.GetWorkload(), owner.Namespace, owner.Workload)
	}
	if err := pb.GetSaveTime().CheckValid(); err != nil {
		return fmt.Errorf("%w: save time: %w", ErrCorrupt, err)
	}
	age := now.Sub(pb.GetSaveTime().AsTime())
	if age > maxAge || age < -skew {
		return fmt.Errorf("%w: written %v ago, at most %v is allowed", ErrExpired, age.Round(time.Second), maxAge)
	}
	return nil
}
