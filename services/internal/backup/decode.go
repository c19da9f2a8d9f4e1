package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"github.com/weft-mesh/weft/services/internal/fault"
)

// largest is how much one part may be when unpacked: etcd holds no more, and a file of somebody else must not fill the memory.
const largest = 4 << 30

// Decode reads a file's content, and checks all of it.
func Decode(data []byte) (*Archive, error) {
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fault.New(fault.Invalid, "this is no backup of a mesh: %v", err)
	}
	archive := tar.NewReader(zip)
	a := &Archive{Files: map[string][]byte{}}
	if err := a.readManifest(archive); err != nil {
		return nil, err
	}
	for _, p := range a.Manifest.Parts {
		content, err := readPart(archive, p)
		if err != nil {
			return nil, err
		}
		if err := a.take(p.Name, content); err != nil {
			return nil, err
		}
	}
	if _, err := archive.Next(); !errors.Is(err, io.EOF) {
		return nil, damaged("there is more in it than its manifest says")
	}
	if _, err := io.Copy(io.Discard, zip); err != nil {
		return nil, damaged("%v", err)
	}
	return a, nil
}

func (a *Archive) readManifest(archive *tar.Reader) error {
	h, err := archive.Next()
	if err != nil || h.Name != nameManifest {
		return fault.New(fault.Invalid, "this is no backup of a mesh: it does not begin with %s", nameManifest)
	}
	content, err := io.ReadAll(io.LimitReader(archive, 1<<20))
	if err != nil {
		return damaged("%s: %v", nameManifest, err)
	}
	if err := json.Unmarshal(content, &a.Manifest); err != nil {
		return damaged("%s: %v", nameManifest, err)
	}
	switch m := a.Manifest; {
	case m.Format != Format:
		return fault.New(fault.Invalid, "the backup has format %q, and this version reads %q only: restore it with weft %s", m.Format, Format, m.Version)
	case m.TrustDomain == "":
		return damaged("%s names no trust domain", nameManifest)
	}
	return nil
}

func readPart(archive *tar.Reader, p Part) ([]byte, error) {
	h, err := archive.Next()
	switch {
	case err != nil:
		return nil, damaged("%s is missing: %v", p.Name, err)
	case h.Name != p.Name || h.Size != p.Size || h.Size > largest:
		return nil, damaged("%s of %d bytes stands where the manifest has %s of %d", h.Name, h.Size, p.Name, p.Size)
	}
	var content bytes.Buffer
	if _, err := io.Copy(&content, archive); err != nil {
		return nil, damaged("%s: %v", p.Name, err)
	}
	if sum := sha256.Sum256(content.Bytes()); hex.EncodeToString(sum[:]) != p.SHA256 {
		return nil, damaged("the checksum of %s is wrong", p.Name)
	}
	return content.Bytes(), nil
}

func (a *Archive) take(name string, content []byte) (err error) {
	switch {
	case name == nameStore && a.Store == nil:
		if a.Store, err = ReadSnapshot(bytes.NewReader(content)); err != nil {
			return err
		}
		if a.Store.Epoch != a.Manifest.Epoch || a.Store.Revision != a.Manifest.Revision || len(a.Store.Entries) != a.Manifest.Keys {
			return damaged("%s is not the store of the manifest", nameStore)
		}
		return nil
	case slices.Contains(files(), name) && a.Files[name] == nil:
		a.Files[name] = content
		return nil
	default:
		return damaged("nobody knows what %q is for", name)
	}
}
