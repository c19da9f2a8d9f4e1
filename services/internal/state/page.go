package state

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
)

const (
	defaultPage = 500
	maxPage     = 5000
)

// Page selects a part of a list.
type Page struct {
	// Size is how many at most; 0: 500, at most 5000.
	Size int
	// Token from the page before.
	Token string
}

// List is one page of objects in order of namespace and name.
type List[T any] struct {
	Objects []T
	// Next is the token of the next page; empty on the last one.
	Next string
	// Revision that the page was read at.
	Revision int64
}

// List reads one page of a namespace, or of all when it is empty. Objects that cannot be decoded are an error: a list that
// leaves something out silently would be taken for the truth.
func (c *Collection[T]) List(ctx context.Context, namespace string, page Page) (List[T], error) {
	after, err := parseToken(page.Token)
	if err != nil {
		return List[T]{}, err
	}
	all, revision, err := c.All(ctx, namespace)
	if err != nil {
		return List[T]{}, err
	}
	if after != (model.Key{}) {
		start, found := slices.BinarySearchFunc(all, after, func(o T, k model.Key) int { return compare(c.kind.Meta(&o).Key, k) })
		if found {
			start++
		}
		all = all[start:]
	}
	size, err := pageSize(page.Size)
	if err != nil {
		return List[T]{}, err
	}
	out := List[T]{Objects: all, Revision: revision}
	if len(all) > size {
		out.Objects = all[:size]
		out.Next = token(c.kind.Meta(&all[size-1]).Key)
	}
	return out, nil
}

// All reads every object of a namespace, or of all when it is empty, in order, with the revision of the read.
func (c *Collection[T]) All(ctx context.Context, namespace string) ([]T, int64, error) {
	prefix := c.kind.Collection + "/"
	if namespace != "" {
		prefix += namespace + "/"
	}
	entries, revision, err := c.store.List(ctx, prefix)
	if err != nil {
		return nil, 0, c.fail(err, "list", model.Key{Namespace: namespace, Name: "*"})
	}
	out := make([]T, 0, len(entries))
	for _, e := range entries {
		object, err := c.kind.decodeEntry(e)
		if err != nil {
			return nil, 0, err
		}
		out = append(out, object)
	}
	// Keys sort as bytes, in which '-' comes before '/': "a-b/x" would precede "a/x".
	slices.SortFunc(out, func(a, b T) int { return compare(c.kind.Meta(&a).Key, c.kind.Meta(&b).Key) })
	return out, revision, nil
}

func compare(a, b model.Key) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

func pageSize(n int) (int, error) {
	if n < 0 {
		return 0, fault.InvalidFields("request", []fault.Field{{Path: "pageSize", Problem: "must not be negative"}})
	}
	if n == 0 {
		return defaultPage, nil
	}
	return min(n, maxPage), nil
}

func token(k model.Key) string { return base64.RawURLEncoding.EncodeToString([]byte(k.String())) }

func parseToken(text string) (model.Key, error) {
	if text == "" {
		return model.Key{}, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	namespace, name, ok := strings.Cut(string(raw), "/")
	if err != nil || !ok || !model.IsLabel(namespace) || !model.IsLabel(name) {
		return model.Key{}, fault.InvalidFields("request", []fault.Field{{Path: "pageToken", Problem: "is not a token of an earlier answer"}})
	}
	return model.Key{Namespace: namespace, Name: name}, nil
}
