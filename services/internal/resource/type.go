package resource

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/state"
)

// Type ties a kind's model to its messages. P is a pointer to a message.
type Type[T any, P Message] struct {
	// Kind as in manifests, and the collection of the store that holds its objects.
	Kind       string
	Collection string
	// Meta reaches what every object has, inside of the object.
	Meta func(*T) *model.Meta
	// Validate lists the rules that an object breaks.
	Validate func(*T) []model.Violation
	// Between model and wire.
	ToProto   func(T) P
	FromProto func(P) (T, error)
}

// State is how the kind is stored: as its message, in a form that is equal for equal objects.
func (t Type[T, P]) State() state.Kind[T] {
	return state.Kind[T]{
		Name: t.Kind, Collection: t.Collection, Meta: t.Meta,
		Codec: state.Codec[T]{Encode: t.encode, Decode: t.decode},
	}
}

func (t Type[T, P]) encode(object T) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(t.ToProto(object))
}

func (t Type[T, P]) decode(raw []byte) (T, error) {
	var zero P
	p, ok := zero.ProtoReflect().New().Interface().(P)
	if !ok {
		var none T
		return none, fmt.Errorf("message of %s is not what it says", t.Kind)
	}
	if err := proto.Unmarshal(raw, p); err != nil {
		var none T
		return none, err
	}
	return t.FromProto(p)
}
