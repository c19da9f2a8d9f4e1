package resource

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
)

func TestUnknownFieldsAreRefusedWhereverTheyAre(t *testing.T) {
	later := []byte{0xf8, 0x07, 0x01} // field 127 of some later version
	rule := func() *policypb.AccessRule {
		return &policypb.AccessRule{
			From: []*policypb.AccessSource{{Account: "a"}},
			To:   []*policypb.HttpMatch{{}, {Path: &typepb.PathMatch{Kind: &typepb.PathMatch_Prefix{Prefix: "/"}}}},
		}
	}
	for _, tc := range []struct {
		name  string
		spoil func(*policypb.AccessPolicy)
		want  string
	}{
		{"nothing unknown", func(*policypb.AccessPolicy) {}, ""},
		{"at the top", func(p *policypb.AccessPolicy) { p.ProtoReflect().SetUnknown(later) }, "the object"},
		{"in metadata", func(p *policypb.AccessPolicy) { p.Metadata.ProtoReflect().SetUnknown(later) }, "metadata"},
		{"in a list", func(p *policypb.AccessPolicy) { p.Spec.Allow[0].From[0].ProtoReflect().SetUnknown(later) }, "spec.allow[0].from[0]"},
		{"far below", func(p *policypb.AccessPolicy) { p.Spec.Allow[0].To[1].Path.ProtoReflect().SetUnknown(later) }, "spec.allow[0].to[1].path"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &policypb.AccessPolicy{
				Metadata: &typepb.ObjectMeta{Name: "p", Labels: map[string]string{"a": "b"}},
				Spec:     &policypb.AccessPolicySpec{Allow: []*policypb.AccessRule{rule()}},
			}
			tc.spoil(p)
			err := unknown(model.KindAccessPolicy, model.Key{Namespace: "default", Name: "p"}, p)
			got := ""
			var f *fault.Error
			if errors.As(err, &f) {
				got = f.Fields[0].Path
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("path (-want +got):\n%s", diff)
			}
		})
	}
}
