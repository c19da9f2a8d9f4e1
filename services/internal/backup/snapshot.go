package backup

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
)

// Prefix is the part of a store that is the mesh's.
const Prefix = "/weft/"

// Source is a store that can be backed up; the etcd stores are.
type Source interface {
	// Epoch as in kv.Store.
	Epoch(ctx context.Context) (string, error)
	// Export reads everything below a prefix as it was at one revision, in the order in which it came into being, without
	// what dies with its writer and without the epoch.
	Export(ctx context.Context, prefix string) ([]kv.Entry, int64, error)
}

// Target is a store that can be restored into.
type Target interface {
	// Vacant says why Replace would refuse: living processes, or without force that there is something.
	Vacant(ctx context.Context, prefix string, force bool) error
	// Replace puts entries in the place of everything below a prefix and gives the store a new epoch.
	Replace(ctx context.Context, prefix string, entries []kv.Entry, force bool) error
}

// Take reads a store. The epoch is read before and after: a store that is replaced in between is no snapshot.
func Take(ctx context.Context, from Source) (*Snapshot, error) {
	epoch, err := from.Epoch(ctx)
	if err != nil {
		return nil, fmt.Errorf("back up the store: %w", err)
	}
	entries, revision, err := from.Export(ctx, Prefix)
	if err != nil {
		return nil, fmt.Errorf("back up the store: %w", err)
	}
	now, err := from.Epoch(ctx)
	if err == nil && now != epoch {
		err = fault.New(fault.Unavailable, "the store was restored meanwhile; try again")
	}
	if err != nil {
		return nil, fmt.Errorf("back up the store: %w", err)
	}
	return &Snapshot{Epoch: epoch, Revision: revision, Entries: entries}, nil
}

// header is the first line of an encoded snapshot.
type header struct {
	Epoch    string `json:"epoch"`
	Revision int64  `json:"revision"`
	Keys     int    `json:"keys"`
}

// line is one key of an encoded snapshot.
type line struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// WriteSnapshot writes a line for the snapshot and one for each key.
func WriteSnapshot(w io.Writer, s *Snapshot) error {
	buffered := bufio.NewWriter(w)
	out := json.NewEncoder(buffered)
	if err := out.Encode(header{s.Epoch, s.Revision, len(s.Entries)}); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	for _, e := range s.Entries {
		if err := out.Encode(line{e.Key, e.Value}); err != nil {
			return fmt.Errorf("write key %q: %w", e.Key, err)
		}
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// ReadSnapshot reads what WriteSnapshot wrote, to its end.
func ReadSnapshot(r io.Reader) (*Snapshot, error) {
	in := json.NewDecoder(r)
	in.DisallowUnknownFields()
	var h header
	if err := in.Decode(&h); err != nil {
		return nil, damaged("%s has no readable first line: %v", nameStore, err)
	}
	s := &Snapshot{Epoch: h.Epoch, Revision: h.Revision}
	for {
		var l line
		err := in.Decode(&l)
		switch {
		case err == io.EOF: //nolint:errorlint // as documented
			if len(s.Entries) != h.Keys {
				return nil, damaged("%s holds %d keys of %d: it was cut off", nameStore, len(s.Entries), h.Keys)
			}
			return s, nil
		case err != nil:
			return nil, damaged("%s: key %d cannot be read: %v", nameStore, len(s.Entries)+1, err)
		case len(l.Key) <= len(Prefix) || !bytes.HasPrefix([]byte(l.Key), []byte(Prefix)):
			return nil, damaged("%s: key %q is not the mesh's", nameStore, l.Key)
		}
		s.Entries = append(s.Entries, kv.Entry{Key: l.Key, Value: l.Value})
	}
}
