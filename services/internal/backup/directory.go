package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/services/internal/atomicfile"
	"github.com/weft-mesh/weft/services/internal/fault"
)

// ReadFiles reads what a backup takes of a data directory. Without an authority's key there is nothing to read.
func ReadFiles(dir string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, name := range files() {
		data, err := os.ReadFile(filepath.Join(dir, name))
		switch {
		case err == nil:
			out[name] = data
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("back up the data directory: %w", err)
		case name == FileRootKey || name == FileRoot:
			return nil, fault.New(fault.NotFound, "there is no authority to back up in %s: %s is missing", dir, name)
		}
	}
	return out, nil
}

// Holds names those files of a data directory that a restore of these would replace.
func Holds(dir string, restored map[string][]byte) []string {
	var out []string
	for _, name := range files() {
		if _, err := os.Lstat(filepath.Join(dir, name)); restored[name] != nil && err == nil {
			out = append(out, name)
		}
	}
	return out
}

// WriteFiles writes files into a data directory. What was there is kept beside it, under a name that ends with aside.
func WriteFiles(dir string, restored map[string][]byte, aside string) error {
	if err := os.MkdirAll(filepath.Join(dir, "ca"), 0o700); err != nil {
		return fmt.Errorf("restore the data directory: %w", err)
	}
	for _, name := range files() {
		data, ok := restored[name]
		if !ok {
			continue
		}
		path := filepath.Join(dir, name)
		if err := SetAside(path, aside); err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if name == FileBundle || name == FileRoot { // certificates are public
			mode = 0o644
		}
		if err := atomicfile.Write(path, data, mode); err != nil {
			return err
		}
	}
	return nil
}

// SetAside renames what is at a path, if anything.
func SetAside(path, aside string) error {
	err := os.Rename(path, path+aside)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keep what was there: %w", err)
	}
	return nil
}

// Aside is the end of the names of what a restore at some time replaced.
func Aside(now time.Time) string { return ".before-restore-" + now.UTC().Format("20060102T150405Z") }
