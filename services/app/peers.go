package app

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// peerPrefix is where the replicas of a service announce themselves in its part of the store: peers/<replica> = address.
const peerPrefix = "peers/"

// peerTTL is how long a replica that was killed still counts as a peer.
const peerTTL = 10 * time.Second

type peersConfig struct {
	service     string
	replica     string
	address     string
	store       kv.Store
	trust       *spiffe.Source
	trustDomain spiffeid.TrustDomain
	log         *zap.Logger
}

// peers is the Peers of one service.
type peers struct {
	cfg peersConfig

	mu    sync.Mutex
	known bool                // the list has been read once
	live  map[string]rpc.Peer // by replica, without this one
	conns map[rpc.Peer]*grpc.ClientConn
}

var _ rpc.Peers = (*peers)(nil)

func newPeers(cfg peersConfig) *peers {
	return &peers{cfg: cfg, live: map[string]rpc.Peer{}, conns: map[rpc.Peer]*grpc.ClientConn{}}
}

// List returns the others in order of name.
func (p *peers) List() []rpc.Peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(maps.Values(p.live), func(a, b rpc.Peer) int { return strings.Compare(a.Replica, b.Replica) })
}

// Dial returns the connection to a peer.
func (p *peers) Dial(peer rpc.Peer) (grpc.ClientConnInterface, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if conn, ok := p.conns[peer]; ok {
		return conn, nil
	}
	if p.live[peer.Replica] != peer {
		return nil, fmt.Errorf("dial replica %q of %s: it has gone", peer.Replica, p.cfg.service)
	}
	conn, err := rpc.Dial(rpc.DialConfig{
		Service: p.cfg.service, Trust: p.cfg.trust, TrustDomain: p.cfg.trustDomain, Addresses: []string{peer.Address}, Direct: true,
	})
	if err != nil {
		return nil, err
	}
	p.conns[peer] = conn
	return conn, nil
}

func (p *peers) synced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known
}

// hold announces this replica until ctx ends.
func (p *peers) hold(ctx context.Context) error {
	return p.cfg.store.Hold(ctx, peerPrefix+p.cfg.replica, []byte(p.cfg.address), peerTTL)
}

// watch keeps the list until ctx ends. When the store is away the list stays as it was.
func (p *peers) watch(ctx context.Context) error {
	retry := backoff.New(50*time.Millisecond, 3*time.Second)
	for {
		err := p.follow(ctx, retry.Reset)
		if ctx.Err() != nil {
			return nil
		}
		p.cfg.log.Debug("watch of peers ended; reading them anew", zap.Error(err))
		if retry.Wait(ctx) != nil {
			return nil
		}
	}
}

func (p *peers) follow(ctx context.Context, good func()) error {
	entries, at, err := p.cfg.store.List(ctx, peerPrefix)
	if err != nil {
		return err
	}
	all := map[string]string{}
	for _, e := range entries {
		all[e.Key] = string(e.Value)
	}
	p.replace(all)
	w, err := p.cfg.store.Watch(ctx, peerPrefix, at)
	if err != nil {
		return err
	}
	for {
		batch, err := w.Next()
		if err != nil {
			return err
		}
		good()
		for _, e := range batch.Events {
			if e.Deleted {
				delete(all, e.Key)
			} else {
				all[e.Key] = string(e.Value)
			}
		}
		if len(batch.Events) > 0 {
			p.replace(all)
		}
	}
}

// replace takes over a list and closes the connections to those who have gone.
func (p *peers) replace(all map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = true
	clear(p.live)
	for key, address := range all {
		if replica := strings.TrimPrefix(key, peerPrefix); replica != p.cfg.replica {
			p.live[replica] = rpc.Peer{Replica: replica, Address: address}
		}
	}
	for peer, conn := range p.conns {
		if p.live[peer.Replica] != peer {
			_ = conn.Close() // its calls end, as they would by the peer's end
			delete(p.conns, peer)
		}
	}
}

func (p *peers) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		_ = conn.Close() // nothing runs on it any more
	}
	clear(p.conns)
}
