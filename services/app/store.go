package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/embedkv"
	"github.com/weft-mesh/weft/services/internal/kv/etcdkv"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
)

// closer is a store that the process owns.
type closer interface {
	kv.Store
	Close() error
}

// StorePrefix is the part of the store that is a service's own.
func StorePrefix(service string) string { return "/weft/" + service + "/v1/" }

// openStore opens the store that the settings ask for and waits until it answers.
func openStore(ctx context.Context, s *Settings, log *zap.Logger) (kv.Store, func() error, error) {
	store, err := newStore(ctx, s, log)
	if err != nil {
		return nil, nil, err
	}
	retry := backoff.New(100*time.Millisecond, 3*time.Second)
	warned := false
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := store.Epoch(attempt)
		cancel()
		if err == nil {
			return store, store.Close, nil
		}
		if !warned && ctx.Err() == nil {
			warned = true
			log.Warn("store does not answer; trying on", zap.String("store", s.StoreKind()), zap.Strings("endpoints", s.Store.Endpoints), zap.Error(err))
		}
		if retry.Wait(ctx) != nil {
			_ = store.Close() // the reason to return is the one below
			return nil, nil, fmt.Errorf("open store %q: %w", s.StoreKind(), err)
		}
	}
}

func newStore(ctx context.Context, s *Settings, log *zap.Logger) (closer, error) {
	switch s.StoreKind() {
	case StoreMem:
		log.Warn("state is kept in memory only and lost at exit", zap.String("store", StoreMem))
		return memkv.New(), nil
	case StoreEtcd:
		return newEtcd(s, log)
	default:
		dir := filepath.Join(s.DataDir, "etcd")
		log.Warn("using the embedded default: an etcd in this process, for one replica on one machine; name a cluster with --etcd-endpoints to outgrow it",
			zap.String("dir", dir))
		return embedkv.Open(ctx, embedkv.Config{Dir: dir, Log: log.Named("store")})
	}
}

func newEtcd(s *Settings, log *zap.Logger) (closer, error) {
	cfg := etcdkv.Config{
		Endpoints: s.Store.Endpoints, CAFile: s.Store.CAFile, CertFile: s.Store.CertFile, KeyFile: s.Store.KeyFile,
		User: s.Store.User, Log: log.Named("store"),
	}
	if s.Store.PasswordFile != "" {
		password, err := os.ReadFile(s.Store.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("read the password of etcd user %q: %w", s.Store.User, err)
		}
		cfg.Password = strings.TrimSpace(string(password))
	}
	return etcdkv.Open(cfg)
}
