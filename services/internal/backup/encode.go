package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// Encode fills in what the manifest says of the parts and makes the file's content.
func (a *Archive) Encode() ([]byte, error) {
	content := map[string][]byte{}
	a.Manifest.Format, a.Manifest.Parts = Format, nil
	part := func(name string, data []byte) {
		sum := sha256.Sum256(data)
		a.Manifest.Parts = append(a.Manifest.Parts, Part{Name: name, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])})
		content[name] = data
	}
	if a.Store != nil {
		a.Manifest.Epoch, a.Manifest.Revision, a.Manifest.Keys = a.Store.Epoch, a.Store.Revision, len(a.Store.Entries)
		var store bytes.Buffer
		if err := WriteSnapshot(&store, a.Store); err != nil {
			return nil, err
		}
		part(nameStore, store.Bytes())
	}
	for _, name := range files() {
		if data, ok := a.Files[name]; ok {
			part(name, data)
		}
	}
	manifest, err := json.MarshalIndent(a.Manifest, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the manifest: %w", err)
	}
	return a.pack(append(manifest, '\n'), content)
}

func (a *Archive) pack(manifest []byte, content map[string][]byte) ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	write := func(name string, data []byte) error {
		err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), ModTime: a.Manifest.Time})
		if err == nil {
			_, err = archive.Write(data)
		}
		return err
	}
	err := write(nameManifest, manifest)
	for _, p := range a.Manifest.Parts {
		err = errors.Join(err, write(p.Name, content[p.Name]))
	}
	if err := errors.Join(err, archive.Close(), zip.Close()); err != nil {
		return nil, fmt.Errorf("pack the backup: %w", err)
	}
	return out.Bytes(), nil
}
