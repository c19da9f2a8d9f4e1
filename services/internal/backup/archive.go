package backup

import (
	"time"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
)

// Format names the form of the file. A reader that knows another one refuses.
const Format = "weft-backup/1"

// Files of a data directory that belong to a backup.
const (
	FileRootKey    = "ca/root.key"
	FileRoot       = "ca/root.pem"
	FileBundle     = "bundle.pem"
	FileAdminToken = "admin.token"
)

// files are those that an archive may hold; nothing else is ever written by a restore.
func files() []string { return []string{FileRootKey, FileRoot, FileBundle, FileAdminToken} }

// Names inside the archive.
const (
	nameManifest = "manifest.json"
	nameStore    = "store.jsonl"
)

// Manifest says what a backup is.
type Manifest struct {
	Format      string    `json:"format"`
	Version     string    `json:"version"` // of the program that made it
	TrustDomain string    `json:"trustDomain"`
	Time        time.Time `json:"time"`
	// Epoch and Revision of the store; empty and zero without one.
	Epoch    string `json:"epoch,omitempty"`
	Revision int64  `json:"revision,omitempty"`
	Keys     int    `json:"keys,omitempty"`
	// Parts are the other entries of the archive, in order.
	Parts []Part `json:"parts"`
}

// Part is one entry of the archive.
type Part struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Snapshot is a store at one revision.
type Snapshot struct {
	Epoch    string
	Revision int64
	// Entries in the order in which they came into being.
	Entries []kv.Entry
}

// Archive is a backup.
type Archive struct {
	Manifest Manifest
	// Store is nil when it was not backed up.
	Store *Snapshot
	// Files of the data directory by their names there; those that there were.
	Files map[string][]byte
}

func damaged(format string, args ...any) error {
	return fault.New(fault.Invalid, "the backup is damaged: "+format, args...)
}
