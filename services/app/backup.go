package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/services/internal/backup"
)

// backupSocket is where a process with an embedded store gives a snapshot of it to whoever may read its data directory.
const backupSocket = "backup.sock"

// backupTime bounds one snapshot, so that a reader that has stopped reading is no burden.
const backupTime = 5 * time.Minute

// offerBackups lets the process go on when no socket can be opened there: it can be backed up when it is stopped.
func (p *process) offerBackups(ctx context.Context, store backup.Source) error {
	if err := p.serveBackup(ctx, store); err != nil {
		p.Log.Error("this process cannot be backed up while it runs", zap.Error(err))
		<-ctx.Done()
	}
	return nil
}

// serveBackup gives a snapshot of the store to every connection until ctx ends. The embedded store has no other door, and
// nobody but this process can open its files.
func (p *process) serveBackup(ctx context.Context, store backup.Source) error {
	dir, err := os.Open(p.Settings.DataDir)
	if err != nil {
		return fmt.Errorf("open the socket for backups: %w", err)
	}
	defer func() { _ = dir.Close() }()
	path := socketPath(dir)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // of a process that was killed: the store is locked by us
		return fmt.Errorf("open the socket for backups: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("open the socket for backups: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(fmt.Errorf("open the socket for backups: %w", err), listener.Close())
	}
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("socket for backups: %w", err)
		}
		p.sendBackup(ctx, conn, store)
	}
}

// sendBackup answers one connection; they are served one after the other.
func (p *process) sendBackup(ctx context.Context, conn net.Conn, store backup.Source) {
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, backupTime)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := sameUser(conn); err != nil {
		p.Log.Warn("backup refused", zap.Error(err))
		return
	}
	snapshot, err := backup.Take(ctx, store)
	if err == nil {
		err = backup.WriteSnapshot(conn, snapshot)
	}
	if err != nil {
		p.Log.Error("backup not given", zap.Error(err))
		return
	}
	p.Log.Info("backup given", zap.Int64("revision", snapshot.Revision), zap.Int("keys", len(snapshot.Entries)))
}

// sameUser refuses everybody but the owner of the data directory and root, who can read it anyhow.
func sameUser(conn net.Conn) error {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return fmt.Errorf("ask who connects: %w", err)
	}
	var who *unix.Ucred
	var ask error
	if err := raw.Control(func(fd uintptr) { who, ask = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return fmt.Errorf("ask who connects: %w", err)
	}
	if ask != nil {
		return fmt.Errorf("ask who connects: %w", ask)
	}
	if who.Uid != 0 && int(who.Uid) != os.Geteuid() {
		return fmt.Errorf("user %d is not the one that this process runs as", who.Uid)
	}
	return nil
}

// socketPath names the socket through an open directory: the path of a socket may have 107 bytes only.
func socketPath(dir *os.File) string {
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), backupSocket)
}
