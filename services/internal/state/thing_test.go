package state

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/model"
)

// thing is an object that only tests have.
type thing struct {
	model.Meta
	Value string
}

func kind(name, collection string) Kind[thing] {
	return Kind[thing]{
		Name: name, Collection: collection, Meta: (*thing).Metadata,
		Codec: Codec[thing]{
			Encode: func(t thing) ([]byte, error) { return json.Marshal(t) },
			Decode: func(raw []byte) (t thing, err error) { return t, json.Unmarshal(raw, &t) },
		},
	}
}

func things() Kind[thing] { return kind("Thing", "things") }
func others() Kind[thing] { return kind("Other", "others") }

func named(namespace, name, value string) thing {
	return thing{Meta: model.Meta{Key: model.Key{Namespace: namespace, Name: name}}, Value: value}
}

func key(name string) model.Key { return model.Key{Namespace: "default", Name: name} }

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantKind(t *testing.T, what string, err error, want fault.Kind) {
	t.Helper()
	if !fault.Is(err, want) {
		t.Errorf("%s: want a fault of kind %d, got %v", what, want, err)
	}
}

// counting counts writes.
type counting struct {
	kv.Store
	puts int
}

func (s *counting) Put(ctx context.Context, key string, value []byte, c kv.Condition) (int64, error) {
	s.puts++
	return s.Store.Put(ctx, key, value, c)
}
