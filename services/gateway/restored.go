package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/kv"
)

// restoredKey is where `weft restore` leaves a note for the gateway, in its part of the store.
const restoredKey = "restored/default/last"

// restoredFor is how long CheckMesh shows the note: long enough that everybody who comes to the mesh sees it, and not for ever.
const restoredFor = 7 * 24 * time.Hour

// Restored says that the store came from a backup.
type Restored struct {
	// Time of the restore.
	Time time.Time `json:"time"`
	// Taken is when the backup was made.
	Taken time.Time `json:"taken"`
	// Revision and Epoch of the backup.
	Revision int64  `json:"revision"`
	Epoch    string `json:"epoch"`
}

// RestoredNote is the note as a key below the gateway's prefix and its value.
func RestoredNote(r Restored) (key string, value []byte, err error) {
	value, err = json.Marshal(r)
	return restoredKey, value, err
}

// restored is the finding about a restored store, or nothing.
func (s *Service) restored(ctx context.Context, now time.Time) []*adminpb.Finding {
	if s.deps.Store == nil {
		return nil
	}
	entry, err := s.deps.Store.Get(ctx, restoredKey)
	if errors.Is(err, kv.ErrNotFound) {
		return nil
	}
	var note Restored
	if err == nil {
		err = json.Unmarshal(entry.Value, &note)
	}
	if err != nil {
		return []*adminpb.Finding{{
			Severity: adminpb.Severity_SEVERITY_WARNING, Subject: "store", Message: "whether it was restored cannot be read: " + plain(err),
			Remedy: "see whether the store answers",
		}}
	}
	if now.Sub(note.Time) > restoredFor {
		return nil
	}
	return []*adminpb.Finding{{
		Severity: adminpb.Severity_SEVERITY_WARNING, Subject: "store",
		Message: fmt.Sprintf("was restored on %s from a backup of %s: what was changed in between is gone, and who was denied since may be allowed again",
			note.Time.UTC().Format(time.RFC3339), note.Taken.UTC().Format(time.RFC3339)),
		Remedy: "look over access policies and administrators' tokens, and apply again what was changed since",
	}}
}
