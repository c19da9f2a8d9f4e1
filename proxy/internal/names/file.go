package names

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/proxy/internal/table"
)

// header stands above the names.
const header = "# services of the mesh, kept up to date by weft-proxy"

// Config is what a File needs.
type Config struct {
	// Path of the file. It is written in place, never replaced: somebody has mounted it.
	Path string
	// Base is the file whose lines come first, usually the host's own /etc/hosts; one that does not exist is empty.
	Base string
	// Namespace whose services have short names.
	Namespace string
	Tables    *table.Holder
}

// File keeps one file in step. Make one with New.
type File struct {
	cfg     Config
	log     *zap.Logger
	written atomic.Bool
}

// New makes a File; it writes nothing yet.
func New(cfg Config, log *zap.Logger) *File { return &File{cfg: cfg, log: log} }

// Written says that the file holds what the first table had.
func (f *File) Written() bool { return f.written.Load() }

// Run writes the file whenever the services have changed, until ctx ends. An error of writing is logged when it begins and tried
// again with the next change.
func (f *File) Run(ctx context.Context) error {
	var last []byte
	failing := false
	for {
		changed := f.cfg.Tables.Changed()
		if t := f.cfg.Tables.Load(); t != nil && t.Index != nil {
			text, err := f.text(t.Index)
			if err == nil && !bytes.Equal(text, last) {
				err = f.write(text)
			}
			if err == nil {
				last = text
				f.written.Store(true)
			} else if !failing {
				f.log.Error("names of services are not up to date for the program", zap.Error(err))
			}
			failing = err != nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// text is the whole file.
func (f *File) text(index table.Index) ([]byte, error) {
	base, err := os.ReadFile(f.cfg.Base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("names of the host: %w", err)
	}
	var lines []string
	index.Each(func(e table.IndexEntry) bool {
		if e.VirtualAddress.IsValid() {
			lines = append(lines, e.VirtualAddress.String()+"\t"+f.names(e.Name))
		}
		return true
	})
	slices.Sort(lines) // the same services make the same file
	var b bytes.Buffer
	b.Write(base)
	if len(base) > 0 && base[len(base)-1] != '\n' {
		b.WriteByte('\n')
	}
	b.WriteString(header + "\n")
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	return b.Bytes(), nil
}

// names of a service ("namespace/name"): "name" in the program's own namespace, "name.namespace" everywhere.
func (f *File) names(service string) string {
	namespace, name, _ := strings.Cut(service, "/")
	if namespace == f.cfg.Namespace {
		return name + "." + namespace + " " + name
	}
	return name + "." + namespace
}

// write puts text in place by one write, so that a reader finds the old lines or the new ones.
func (f *File) write(text []byte) error {
	file, err := os.OpenFile(f.cfg.Path, os.O_WRONLY|os.O_CREATE, 0o644) //nolint:gosec // every program reads /etc/hosts
	if err != nil {
		return fmt.Errorf("names for the program: %w", err)
	}
	_, err = file.WriteAt(text, 0)
	if err == nil {
		err = file.Truncate(int64(len(text)))
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("names for the program: %w", err)
	}
	return nil
}
