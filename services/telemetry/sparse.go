package telemetry

import (
	"cmp"
	"slices"
)

// cell is one entry of a sparse vector.
type cell[K cmp.Ordered] struct {
	key K
	n   uint64
}

// sparse is a vector of counts by key, in ascending order of key and without zeros. It is immutable.
type sparse[K cmp.Ordered] []cell[K]

// combine applies op to the counts of every key that a or b has.
func combine[K cmp.Ordered](a, b sparse[K], op func(x, y uint64) uint64) sparse[K] {
	out := make(sparse[K], 0, max(len(a), len(b)))
	put := func(key K, n uint64) {
		if n != 0 {
			out = append(out, cell[K]{key, n})
		}
	}
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].key < b[0].key:
			put(a[0].key, op(a[0].n, 0))
			a = a[1:]
		case len(a) == 0 || b[0].key < a[0].key:
			put(b[0].key, op(0, b[0].n))
			b = b[1:]
		default:
			put(a[0].key, op(a[0].n, b[0].n))
			a, b = a[1:], b[1:]
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// total is the sum of all counts.
func (s sparse[K]) total() uint64 {
	var sum uint64
	for _, c := range s {
		sum += c.n
	}
	return sum
}

// fromMap makes a vector of a map.
func fromMap(m map[string]uint64) sparse[string] {
	if len(m) == 0 {
		return nil
	}
	out := make(sparse[string], 0, len(m))
	for key, n := range m {
		if n != 0 {
			out = append(out, cell[string]{key, n})
		}
	}
	slices.SortFunc(out, func(a, b cell[string]) int { return cmp.Compare(a.key, b.key) })
	return out
}

// toMap makes a map of a vector; nil when it is empty.
func toMap(s sparse[string]) map[string]uint64 {
	if len(s) == 0 {
		return nil
	}
	m := make(map[string]uint64, len(s))
	for _, c := range s {
		m[c.key] = c.n
	}
	return m
}
