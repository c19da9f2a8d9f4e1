package state

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/model"
)

// Codec turns objects into stored bytes and back. Encode must give equal bytes for equal objects.
type Codec[T any] struct {
	Encode func(T) ([]byte, error)
	Decode func([]byte) (T, error)
}

// Kind describes the objects of one collection.
type Kind[T any] struct {
	// Name as in manifests, for example "Route".
	Name string
	// Collection is the first part of the objects' keys, for example "routes".
	Collection string
	// Meta reaches what every object has; it must point into the object.
	Meta func(*T) *model.Meta
	// Codec of the stored form.
	Codec Codec[T]
}

func (k Kind[T]) key(key model.Key) string {
	return k.Collection + "/" + key.Namespace + "/" + key.Name
}

// parseKey splits a stored key into its parts.
func parseKey(key string) (collection string, k model.Key, ok bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" {
		return "", model.Key{}, false
	}
	return parts[0], model.Key{Namespace: parts[1], Name: parts[2]}, true
}

// encode leaves out the etag: it is the revision that the write is about to get.
func (k Kind[T]) encode(object T) ([]byte, error) {
	meta := k.Meta(&object)
	key := meta.Key
	meta.Etag = ""
	raw, err := k.Codec.Encode(object)
	if err != nil {
		return nil, fmt.Errorf("encode %s %q: %w", k.Name, key, err)
	}
	return raw, nil
}

func (k Kind[T]) decode(key string, raw []byte, revision int64) (T, error) {
	object, err := k.Codec.Decode(raw)
	if err != nil {
		return object, fmt.Errorf("decode %s %q: %w", k.Name, key, err)
	}
	k.Meta(&object).Etag = etag(revision)
	return object, nil
}

func (k Kind[T]) decodeEntry(e kv.Entry) (T, error) { return k.decode(e.Key, e.Value, e.Revision) }

// etag names a version of an object; opaque to everyone else.
func etag(revision int64) string { return strconv.FormatInt(revision, 36) }
