package embedkv

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/etcdkv"
)

// Config of an embedded store.
type Config struct {
	// Dir holds the data; it is made (0700) when missing.
	Dir string
	// Log gets what goes wrong.
	Log *zap.Logger
	// UnsafeNoFsync gives up durability for speed; for tests.
	UnsafeNoFsync bool
}

// memberName names the only member. It and the peer URL are part of the data on disk and must never change.
const memberName = "weft"

// maxBytes is how large the data may grow before etcd refuses writes.
const maxBytes = 4 << 30

// Store is an etcd in this process.
type Store struct {
	*etcdkv.Store
	server *embed.Etcd
	lock   *os.File
}

var _ kv.Store = (*Store)(nil)

// Open starts the server and returns when it takes writes.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the store's directory: %w", err)
	}
	lock, err := exclusive(cfg.Dir)
	if err != nil {
		return nil, err
	}
	server, err := start(ctx, cfg)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &Store{Store: etcdkv.New(v3client.New(server.Server), cfg.Log), server: server, lock: lock}, nil
}

// exclusive refuses a directory that another process has; etcd itself would wait for it without a word.
func exclusive(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the store's directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("the store in %s is in use by another process: stop that one, or choose another data directory: %w", dir, err), lock.Close())
	}
	return lock, nil
}

func start(ctx context.Context, cfg Config) (*embed.Etcd, error) {
	server, err := embed.StartEtcd(config(cfg))
	if err != nil {
		return nil, fmt.Errorf("start the embedded store in %s: %w", cfg.Dir, err)
	}
	select {
	case <-server.Server.ReadyNotify():
		return server, nil
	case err = <-server.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	server.Close()
	return nil, fmt.Errorf("start the embedded store in %s: %w", cfg.Dir, err)
}

func config(cfg Config) *embed.Config {
	conf := embed.NewConfig()
	conf.Name = memberName
	conf.Dir = cfg.Dir
	// No sockets: this process calls the server's functions. The advertised URLs only name the member.
	conf.ListenClientUrls, conf.ListenPeerUrls = nil, nil
	conf.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "localhost:2380"}}
	conf.AdvertiseClientUrls = []url.URL{{Scheme: "http", Host: "localhost:2379"}}
	conf.InitialCluster = conf.InitialClusterFromName(memberName)
	// The only member waits for an election's time before it elects itself; nothing but that depends on it here.
	conf.TickMs, conf.ElectionMs = 20, 100
	conf.AutoCompactionMode, conf.AutoCompactionRetention = embed.CompactorModePeriodic, "1h"
	conf.QuotaBackendBytes = maxBytes
	conf.WatchProgressNotifyInterval = 10 * time.Second
	conf.UnsafeNoFsync = cfg.UnsafeNoFsync
	conf.ZapLoggerBuilder = embed.NewZapLoggerBuilder(quiet(cfg.Log))
	return conf
}

// Close ends watches, stops the server and gives the directory free.
func (s *Store) Close() error {
	err := s.Store.Close()
	s.server.Close()
	return errors.Join(err, s.lock.Close())
}

// Reserve makes sure that no process has a store's directory and keeps it from others until free is called. A directory that
// is not there is nobody's.
func Reserve(dir string) (free func(), err error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return func() {}, nil
	}
	lock, err := exclusive(dir)
	if err != nil {
		return nil, err
	}
	return func() { _ = lock.Close() }, nil // closing is all that unlocking takes
}
