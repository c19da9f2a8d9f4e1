package state

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
)

func TestWritesAreGuarded(t *testing.T) {
	ctx := t.Context()
	c := NewCollection(memkv.New(), things())
	_, err := c.Get(ctx, key("a"))
	wantKind(t, "get of nothing", err, fault.NotFound)
	_, err = c.Update(ctx, named("default", "a", "1"))
	wantKind(t, "update of nothing", err, fault.NotFound)
	_, err = c.Delete(ctx, key("a"), "")
	wantKind(t, "delete of nothing", err, fault.NotFound)

	first := must(c.Create(ctx, named("default", "a", "1")))(t)
	if first.Object.Etag == "" || first.Object.CreateTime.IsZero() || !first.Changed {
		t.Errorf("created object lacks etag or time: %+v", first)
	}
	_, err = c.Create(ctx, named("default", "a", "2"))
	wantKind(t, "second create", err, fault.Exists)

	next := first.Object
	next.Value = "2"
	second := must(c.Update(ctx, next))(t)
	_, err = c.Update(ctx, next)
	wantKind(t, "update with the old etag", err, fault.Conflict)
	_, err = c.Delete(ctx, key("a"), first.Object.Etag)
	wantKind(t, "delete with the old etag", err, fault.Conflict)

	got := must(c.Get(ctx, key("a")))(t)
	if diff := cmp.Diff(second.Object, got); diff != "" {
		t.Errorf("answer of the write and read differ:\n%s", diff)
	}
	if !got.CreateTime.Equal(first.Object.CreateTime) {
		t.Error("an update must keep the time of creation")
	}
	if _, err := c.Delete(ctx, key("a"), got.Etag); err != nil {
		t.Error(err)
	}
}

// Row C7: an event that changes nothing makes no revision, and so wakes nobody.
func TestC7_EqualUpdateMakesNoRevision(t *testing.T) {
	ctx := t.Context()
	store := &counting{Store: memkv.New()}
	c := NewCollection(store, things())
	first := must(c.Create(ctx, named("default", "a", "1")))(t)
	for _, etag := range []string{"", first.Object.Etag} {
		same := named("default", "a", "1")
		same.Etag = etag
		got := must(c.Update(ctx, same))(t)
		if got.Changed || got.Revision != first.Revision || got.Object.Etag != first.Object.Etag {
			t.Errorf("etag %q: want revision %d again, got %+v", etag, first.Revision, got)
		}
	}
	if store.puts != 1 {
		t.Errorf("want one write, got %d", store.puts)
	}
}

// Writers that read, change and write back with the etag, and try again on a conflict, lose no update.
func TestTwoWritersLoseNoUpdate(t *testing.T) {
	ctx := t.Context()
	c := NewCollection(memkv.New(), things())
	must(c.Create(ctx, named("default", "a", "0")))(t)
	const writers, each = 4, 25
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if err := increment(ctx, c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := must(c.Get(ctx, key("a")))(t).Value; got != strconv.Itoa(writers*each) {
		t.Errorf("want %d, got %s", writers*each, got)
	}
}

func increment(ctx context.Context, c *Collection[thing]) error {
	for {
		object, err := c.Get(ctx, key("a"))
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(object.Value)
		if err != nil {
			return err
		}
		object.Value = strconv.Itoa(n + 1)
		if _, err = c.Update(ctx, object); !fault.Is(err, fault.Conflict) {
			return err
		}
	}
}

func TestModifySeesTheNewestVersion(t *testing.T) {
	ctx := t.Context()
	c := NewCollection(memkv.New(), things())
	must(c.Create(ctx, named("default", "a", "0")))(t)
	calls := 0
	got := must(c.Modify(ctx, key("a"), "", func(now thing) (thing, error) {
		if calls++; calls == 1 { // another writer is faster, once
			must(c.Update(ctx, named("default", "a", "1")))(t)
		}
		now.Value += "+"
		return now, nil
	}))(t)
	if got.Object.Value != "1+" || calls != 2 {
		t.Errorf("want the other writer's value extended at the second try, got %q after %d", got.Object.Value, calls)
	}
}

func TestListInPages(t *testing.T) {
	ctx := t.Context()
	c := NewCollection(memkv.New(), things())
	var want []string
	for _, ns := range []string{"a", "a-b", "b"} { // "a-b/x" sorts before "a/x" as bytes, not as keys
		for i := range 5 {
			must(c.Create(ctx, named(ns, fmt.Sprintf("t%d", i), "")))(t)
			want = append(want, fmt.Sprintf("%s/t%d", ns, i))
		}
	}
	all, _, err := c.All(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range all {
		got = append(got, o.Key.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if some, _, err := c.All(ctx, "a"); err != nil || len(some) != 5 {
		t.Errorf("namespace a: want 5, got %d, %v", len(some), err)
	}
}

func TestTheStoreAwayIsUnavailable(t *testing.T) {
	store := memkv.New()
	c := NewCollection(store, things())
	store.FailNext(kv.ErrClosed)
	_, err := c.Get(t.Context(), key("a"))
	wantKind(t, "get", err, fault.Unavailable)
}

// The layout of keys is an interface between versions.
func TestKeyLayout(t *testing.T) {
	store := memkv.New()
	must(NewCollection(store, things()).Create(t.Context(), named("blue", "a", "")))(t)
	entries, _, err := store.List(t.Context(), "")
	if err != nil || len(entries) != 1 || entries[0].Key != "things/blue/a" {
		t.Errorf("want the key things/blue/a, got %v, %v", entries, err)
	}
}
