package telemetry

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// bucketOf is the definition of the mesh's histogram, word for word.
func bucketOf(micros uint64) uint32 {
	return uint32(math.Floor(4 * math.Log2(float64(micros)+1)))
}

func observe(values ...uint64) sparse[uint32] {
	var out sparse[uint32]
	for _, v := range values {
		out = combine(out, sparse[uint32]{{bucketOf(v), 1}}, sum)
	}
	return out
}

func TestQuantile(t *testing.T) {
	tests := []struct {
		name   string
		values []uint64
		q      float64
		want   time.Duration
	}{
		{name: "nothing counted", q: 0.5, want: 0},
		{name: "one value", values: []uint64{1000}, q: 0.99, want: 1000 * time.Microsecond},
		{name: "median of three", values: []uint64{10, 1000, 100000}, q: 0.5, want: 1000 * time.Microsecond},
		{name: "tail", values: append(slices.Repeat([]uint64{100}, 98), 50000, 50000), q: 0.99, want: 50 * time.Millisecond},
		{name: "zeros", values: []uint64{0, 0, 0}, q: 0.9, want: 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := quantile(observe(test.values...), test.q)
			off := math.Abs(float64(got-test.want)) / math.Max(float64(test.want), float64(time.Microsecond))
			if off > 0.19 {
				t.Errorf("quantile(%v) = %v, want %v within 19 %%", test.q, got, test.want)
			}
		})
	}
}

func TestQuantileIsWithinNineteenPercent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Uint64Range(10, 1e9), 1, 200).Draw(t, "values")
		q := rapid.Float64Range(0.01, 1).Draw(t, "q")
		got := float64(quantile(observe(values...), q)) / float64(time.Microsecond)
		slices.Sort(values)
		want := float64(values[int(math.Max(math.Ceil(q*float64(len(values))), 1))-1])
		if math.Abs(got-want) > 0.2*(want+1) {
			t.Fatalf("quantile %v of %v = %v, want %v", q, values, got, want)
		}
	})
}

func TestCombine(t *testing.T) {
	a := sparse[string]{{"a", 1}, {"c", 5}}
	b := sparse[string]{{"b", 2}, {"c", 3}}
	tests := []struct {
		name string
		op   func(x, y uint64) uint64
		want sparse[string]
	}{
		{"sum", sum, sparse[string]{{"a", 1}, {"b", 2}, {"c", 8}}},
		{"larger", larger, sparse[string]{{"a", 1}, {"b", 2}, {"c", 5}}},
		{"smaller", smaller, sparse[string]{{"c", 3}}},
		{"minus", minus, sparse[string]{{"a", 1}, {"c", 2}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, combine(a, b, test.op), cmp.AllowUnexported(cell[string]{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}
