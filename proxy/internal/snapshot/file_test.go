package snapshot

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
)

const maxAge = 48 * time.Hour

func saved(t *testing.T, at time.Time) (Saved, []byte) {
	t.Helper()
	s := Saved{State: applied(t, New(owner()), full(t)), Services: []string{"default/reviews"}, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.7")}, At: at}
	raw, err := Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	return s, raw
}

func TestFileRoundTrip(t *testing.T) {
	now := time.Now()
	want, raw := saved(t, now)
	got, err := Decode(owner(), raw, now, maxAge)
	if err != nil {
		t.Fatalf("Decode: %v", err)
	}
	if diff := cmp.Diff(want.State.Resources(), got.State.Resources(), protocmp.Transform()); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.State.Vector(), got.State.Vector(), protocmp.Transform()); diff != "" {
		t.Errorf("vector (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.State.IndexVersions(), got.State.IndexVersions(), protocmp.Transform()); diff != "" {
		t.Errorf("index (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want.Services, got.Services); diff != "" {
		t.Errorf("working set (-want +got):\n%s", diff)
	}
	if !slices.Equal(want.Addresses, got.Addresses) {
		t.Errorf("addresses: want %v, got %v", want.Addresses, got.Addresses)
	}
	if !got.At.Equal(now) || got.State.IndexLen() != 200 {
		t.Errorf("at %v with %d services in the index", got.At, got.State.IndexLen())
	}
}

func TestCorruptFileIsRefusedWhereverItIsCorrupt(t *testing.T) {
	now := time.Now()
	_, raw := saved(t, now)
	rapid.Check(t, func(rt *rapid.T) {
		damaged := append([]byte{}, raw...)
		if at := rapid.IntRange(0, len(raw)).Draw(rt, "at"); at == len(raw) || rapid.Bool().Draw(rt, "cut") {
			damaged = damaged[:min(at, len(raw)-1)]
		} else {
			damaged[at] ^= byte(rapid.IntRange(1, 255).Draw(rt, "bits"))
		}
		if _, err := Decode(owner(), damaged, now, maxAge); !errors.Is(err, ErrCorrupt) {
			rt.Fatalf("want %v, got %v", ErrCorrupt, err)
		}
	})
}

func TestForeignAndOldFilesAreRefused(t *testing.T) {
	now := time.Now()
	_, raw := saved(t, now)
	other := owner()
	other.Workload = "web-2"
	elsewhere := owner()
	elsewhere.Namespace = "ops"
	foreign := owner()
	foreign.TrustDomain = spiffeid.RequireTrustDomainFromString("other.local")
	tests := []struct {
		name  string
		owner Owner
		now   time.Time
		want  error
	}{
		{"other workload", other, now, ErrForeign},
		{"other namespace", elsewhere, now, ErrForeign},
		{"other trust domain", foreign, now, ErrForeign},
		{"too old", owner(), now.Add(maxAge + time.Second), ErrExpired},
		{"from the future", owner(), now.Add(-time.Hour), ErrExpired},
		{"just young enough", owner(), now.Add(maxAge - time.Second), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Decode(tt.owner, raw, tt.now, maxAge); !errors.Is(err, tt.want) {
				t.Errorf("want %v, got %v", tt.want, err)
			}
		})
	}
}

func TestFileWithARefusedResourceKeepsTheGoodOne(t *testing.T) {
	now := time.Now()
	s := applied(t, New(owner()), full(t))
	s, _ = s.Apply(&configpb.Update{Resources: []*configpb.Resource{{Name: "mesh", Version: "m2"}}})
	raw, err := Encode(Saved{State: s, At: now})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(owner(), raw, now, maxAge)
	if err != nil || got.State.Versions()["mesh"] != "m1" {
		t.Errorf("want the accepted mesh settings m1, got %v, %v", got.State, err)
	}
}
