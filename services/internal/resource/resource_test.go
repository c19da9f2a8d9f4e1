package resource

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

func accessType() Type[model.AccessPolicy, *policypb.AccessPolicy] {
	return Type[model.AccessPolicy, *policypb.AccessPolicy]{
		Kind: model.KindAccessPolicy, Collection: "accesspolicies",
		Meta: (*model.AccessPolicy).Metadata, Validate: (*model.AccessPolicy).Validate,
		ToProto: modelpb.AccessPolicyToProto, FromProto: modelpb.AccessPolicyFromProto,
	}
}

func policy(account string) *policypb.AccessPolicy {
	return &policypb.AccessPolicy{
		Metadata: &typepb.ObjectMeta{Name: "p"},
		Spec:     &policypb.AccessPolicySpec{Destination: &policypb.AccessDestination{Account: account}},
	}
}

// recorder is a service's hooks that write down what they are asked.
type recorder struct {
	calls  []string
	refuse error
}

func (r *recorder) hooks() Hooks[model.AccessPolicy] {
	return Hooks[model.AccessPolicy]{
		Prepare: func(_ context.Context, next, current *model.AccessPolicy, dry bool) error {
			call := "prepare"
			if current != nil {
				call += " over " + current.Account
			}
			if dry {
				call += " dry"
			}
			r.calls = append(r.calls, call)
			return r.refuse
		},
		Warn: func(_ context.Context, p *model.AccessPolicy) ([]model.Violation, error) {
			r.calls = append(r.calls, "warn "+p.Account)
			return []model.Violation{{Path: "spec", Problem: "looks odd"}}, nil
		},
		Removing: func(context.Context, *model.AccessPolicy) (func(context.Context), error) {
			r.calls = append(r.calls, "removing")
			return func(context.Context) { r.calls = append(r.calls, "removed") }, nil
		},
	}
}

func stamp(_ context.Context, seq int64) (model.Revision, error) {
	return model.Revision{Source: model.SourcePolicy, Epoch: "e", Seq: uint64(seq)}, nil
}

func TestHooksAreAskedBeforeTheWrite(t *testing.T) {
	ctx, rec := t.Context(), &recorder{}
	r := New(memkv.New(), accessType(), stamp, rec.hooks())
	for _, dry := range []bool{true, false} {
		a, err := r.Create(ctx, policy("one"), dry)
		if err != nil || len(a.Warnings) != 1 || (a.Revision == nil) != dry {
			t.Fatalf("create: got %v, %v", a, err)
		}
	}
	for _, dry := range []bool{true, false} {
		if _, err := r.Update(ctx, policy("two"), nil, dry); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Delete(ctx, &policypb.DeleteAccessPolicyRequest{Name: "p"}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"prepare dry", "warn one", "prepare", "warn one", "prepare over one dry", "warn two", "prepare over one", "warn two", "removing", "removed",
	}
	if diff := cmp.Diff(want, rec.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestARefusalStoresNothing(t *testing.T) {
	rec := &recorder{refuse: fault.New(fault.Denied, "no")}
	store := memkv.New()
	r := New(store, accessType(), stamp, rec.hooks())
	if _, err := r.Create(t.Context(), policy("one"), false); !errors.Is(err, rec.refuse) {
		t.Errorf("want the refusal, got %v", err)
	}
	if entries, _, err := store.List(t.Context(), ""); err != nil || len(entries) != 0 {
		t.Errorf("want nothing stored, got %v, %v", entries, err)
	}
}

func TestOutputOnlyFieldsAreIgnored(t *testing.T) {
	r := New(memkv.New(), accessType(), stamp, Hooks[model.AccessPolicy]{})
	p := policy("one")
	p.Metadata.Origin, p.Metadata.Etag = "static:/x", "old"
	a, err := r.Create(t.Context(), p, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := a.Object.GetMetadata(); got.GetOrigin() != "" || got.GetEtag() == "old" {
		t.Errorf("want no origin and a new etag, got %v", got)
	}
}

func TestUpdateMaskReplacesOnlyWhatItNames(t *testing.T) {
	ctx := t.Context()
	r := New(memkv.New(), accessType(), stamp, Hooks[model.AccessPolicy]{})
	p := policy("one")
	p.Metadata.Labels = map[string]string{"team": "shop"}
	if _, err := r.Create(ctx, p, false); err != nil {
		t.Fatal(err)
	}
	next := policy("two") // no labels: they would go without a mask
	a, err := r.Update(ctx, next, &fieldmaskpb.FieldMask{Paths: []string{"spec.destination.account"}}, false)
	if err != nil || a.Object.GetSpec().GetDestination().GetAccount() != "two" || a.Object.GetMetadata().GetLabels()["team"] != "shop" {
		t.Errorf("got %v, %v", a.Object, err)
	}
	var f *fault.Error
	for _, path := range []string{"metadata.name", "metadata", "spec.nothing"} {
		_, err := r.Update(ctx, next, &fieldmaskpb.FieldMask{Paths: []string{path}}, false)
		if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Fields[0].Path != "updateMask.paths[0]" {
			t.Errorf("mask %q: %v", path, err)
		}
	}
	next.Spec.Destination.Account = "NOT VALID"
	_, err = r.Update(ctx, next, &fieldmaskpb.FieldMask{Paths: []string{"spec"}}, false)
	if !errors.As(err, &f) || f.Fields[0].Path != "spec.destination.account" {
		t.Errorf("invalid result of a merge: %v", err)
	}
}

func TestListTellsACallerOnlyWhatHeMaySee(t *testing.T) {
	r := New(memkv.New(), accessType(), stamp, Hooks[model.AccessPolicy]{})
	for _, namespace := range []string{"bank", "shop", "web"} {
		p := policy("one")
		p.Metadata.Namespace = namespace
		if _, err := r.Create(t.Context(), p, false); err != nil {
			t.Fatal(err)
		}
	}
	for namespaces, want := range map[string][]string{"": {"bank", "shop", "web"}, "shop,web": {"shop", "web"}, "other": nil} {
		ctx := rpc.WithCaller(t.Context(), rpc.Caller{Namespaces: namespaces})
		var got []string
		req := &policypb.ListAccessPoliciesRequest{PageSize: 1, Filter: `object.spec.destination.account == "one"`,
			ReadMask: &fieldmaskpb.FieldMask{Paths: []string{"metadata.namespace"}}}
		for {
			page, next, err := r.List(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range page {
				got = append(got, p.GetMetadata().GetNamespace())
				if p.GetSpec() != nil || p.GetMetadata().GetName() != "" {
					t.Errorf("the mask let %v pass", p)
				}
			}
			if next == "" {
				break
			}
			req.PageToken = next
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("who sees %q: %s", namespaces, diff)
		}
	}
}
