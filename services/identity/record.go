package identity

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
)

// Collections of the store. There are no namespaces of records: all lie in "default".
const (
	collectionRoots       = "roots/"
	collectionIssuers     = "issuers/"
	collectionJoinTokens  = "jointokens/"
	collectionAdminTokens = "admintokens/"
	collectionHostTokens  = "hosttokens/"
	recordNamespace       = "default/"
)

func recordKey(collection, name string) string { return collection + recordNamespace + name }

// readRecord fills m from one key; errors of the store pass as they are.
func readRecord(ctx context.Context, store kv.Store, key string, m proto.Message) (kv.Entry, error) {
	entry, err := store.Get(ctx, key)
	if err != nil {
		return kv.Entry{}, err
	}
	return entry, decodeRecord(entry, m)
}

func decodeRecord(entry kv.Entry, m proto.Message) error {
	if err := proto.Unmarshal(entry.Value, m); err != nil {
		return fmt.Errorf("decode record %q: %w", entry.Key, err)
	}
	return nil
}

func writeRecord(ctx context.Context, store kv.Store, key string, m proto.Message, c kv.Condition) (int64, error) {
	raw, err := proto.Marshal(m)
	if err != nil {
		return 0, fmt.Errorf("encode record %q: %w", key, err)
	}
	return store.Put(ctx, key, raw, c)
}

// storeFault makes what the store said into what the caller can do about it: try again.
func storeFault(err error, what string) error {
	var known *fault.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fault.Wrap(fault.Unavailable, err, "%s", what)
}

// lost says that a guarded write came too late: somebody else has changed or removed the key.
func lost(err error) bool { return errors.Is(err, kv.ErrConflict) || errors.Is(err, kv.ErrNotFound) }
