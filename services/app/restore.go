package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/services/internal/backup"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/embedkv"
)

// Snapshot reads the store that the settings name: an etcd cluster itself, an embedded one through the process that has it,
// and when none runs, from its files.
func Snapshot(ctx context.Context, s *Settings, log *zap.Logger) (*backup.Snapshot, error) {
	if s.StoreKind() == StoreEmbed {
		if snapshot, err := liveSnapshot(ctx, s.DataDir); err == nil || !errors.Is(err, errNobody) {
			return snapshot, err
		}
		if _, err := os.Stat(filepath.Join(s.DataDir, "etcd")); err != nil {
			return nil, fmt.Errorf("there is no store to back up: %w", err)
		}
	}
	store, err := newStore(ctx, s, log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }() // only read
	source, ok := store.(backup.Source)
	if !ok {
		return nil, fmt.Errorf("a store of kind %q cannot be backed up", s.StoreKind())
	}
	return backup.Take(ctx, source)
}

// errNobody says that no process serves the socket.
var errNobody = errors.New("no process serves the data directory")

func liveSnapshot(ctx context.Context, dataDir string) (*backup.Snapshot, error) {
	dir, err := os.Open(dataDir)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	defer func() { _ = dir.Close() }()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socketPath(dir))
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) {
		return nil, errNobody
	}
	if err != nil {
		return nil, fmt.Errorf("ask the running process for a backup: %w", err)
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	snapshot, err := backup.ReadSnapshot(conn)
	if err != nil {
		return nil, fmt.Errorf("the running process gave no backup (its log says why): %w", err)
	}
	return snapshot, nil
}

// RestoreStore puts a snapshot into the store that the settings name, with a new epoch. An embedded store that is there
// already is kept beside it, under a name that ends with aside.
func RestoreStore(ctx context.Context, s *Settings, entries []kv.Entry, force bool, aside string, log *zap.Logger) error {
	if s.StoreKind() == StoreEmbed {
		return restoreEmbedded(ctx, filepath.Join(s.DataDir, "etcd"), entries, aside, log)
	}
	return withTarget(ctx, s, log, func(t backup.Target) error { return t.Replace(ctx, backup.Prefix, entries, force) })
}

// withTarget opens the cluster that the settings name for f.
func withTarget(ctx context.Context, s *Settings, log *zap.Logger, f func(backup.Target) error) error {
	store, err := newStore(ctx, s, log)
	if err != nil {
		return err
	}
	target, ok := store.(backup.Target)
	if !ok {
		return errors.Join(fmt.Errorf("nothing can be restored into a store of kind %q", s.StoreKind()), store.Close())
	}
	return errors.Join(f(target), store.Close())
}

// restoreEmbedded makes a new store beside the old one and changes their places when it is whole.
func restoreEmbedded(ctx context.Context, dir string, entries []kv.Entry, aside string, log *zap.Logger) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("restore the store: %w", err)
	}
	free, err := embedkv.Reserve(dir)
	if err != nil {
		return err
	}
	defer free()
	stage, err := os.MkdirTemp(filepath.Dir(dir), "etcd.new-")
	if err != nil {
		return fmt.Errorf("restore the store: %w", err)
	}
	defer func() { _ = os.RemoveAll(stage) }() // nothing is there any more when all went well
	store, err := embedkv.Open(ctx, embedkv.Config{Dir: stage, Log: log.Named("store")})
	if err != nil {
		return err
	}
	if err := errors.Join(store.Replace(ctx, backup.Prefix, entries, false), store.Close()); err != nil {
		return err
	}
	if err := backup.SetAside(dir, aside); err != nil {
		return err
	}
	if err := os.Rename(stage, dir); err != nil {
		return fmt.Errorf("restore the store: %w", err)
	}
	return nil
}

// Vacant says why nothing can be restored into the store that the settings name: a process has it or, without force, it is not
// empty.
func Vacant(ctx context.Context, s *Settings, force bool, log *zap.Logger) error {
	if s.StoreKind() != StoreEmbed {
		return withTarget(ctx, s, log, func(t backup.Target) error { return t.Vacant(ctx, backup.Prefix, force) })
	}
	dir := filepath.Join(s.DataDir, "etcd")
	free, err := embedkv.Reserve(dir)
	if err != nil {
		return fault.Wrap(fault.Conflict, err, "the control plane of %s runs", s.DataDir)
	}
	free()
	if _, err := os.Lstat(filepath.Join(dir, "member")); err == nil && !force {
		return fault.New(fault.Conflict, "there is a store in %s; --force replaces it and keeps it beside the new one", dir)
	}
	return nil
}
