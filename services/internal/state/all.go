package state

import (
	"cmp"
	"context"
	"slices"

	"github.com/weft-mesh/weft/services/internal/model"
)

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

// Epoch identifies the history of the store that the collection lies in.
func (c *Collection[T]) Epoch(ctx context.Context) (string, error) { return c.store.Epoch(ctx) }

func compare(a, b model.Key) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
