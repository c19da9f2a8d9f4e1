package subscribe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/proxy/internal/snapshot"
	"github.com/weft-mesh/weft/proxy/internal/statedir"
)

// Rhythm of the snapshot file: changes that come close together are written once; the stamp is renewed while the distributor
// confirms the state, so that the file's age says how long nobody did.
const (
	settle  = 200 * time.Millisecond
	refresh = time.Hour
)

// Restore makes the state of an earlier process current, if the state directory has one that is whole, this workload's own and
// not too old. It is called before Run. What is refused is an error that says why; that there is nothing is not.
func (c *Client) Restore() error {
	raw, err := c.deps.Dir.Read(statedir.Snapshot)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	saved, err := snapshot.Decode(c.cfg.Owner, raw, time.Now(), c.cfg.MaxAge)
	if err != nil {
		return fmt.Errorf("restore configuration: %w", err)
	}
	for _, s := range saved.Services {
		c.Want(s)
	}
	for _, a := range saved.Addresses {
		c.Address(a)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = saved.State
	c.stats.confirmed = saved.At
	if saved.State.Empty() {
		return nil
	}
	c.sequence++
	c.deps.Holder.Store(c.state.Table(c.sequence))
	for name, w := range c.wanted {
		if c.state.HasService(name) {
			w.answer()
		}
	}
	for addr, p := range c.places {
		if c.state.HasAddress(addr) {
			p.answer()
		}
	}
	return nil
}

// followEvery is how often a process that follows another one looks at the file.
const followEvery = 250 * time.Millisecond

// Follow takes over what another process of this sidecar saves, until ctx ends, instead of Run. What cannot be read now is read
// when it is saved the next time.
func (c *Client) Follow(ctx context.Context) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	var last os.FileInfo
	for {
		info, err := os.Stat(c.deps.Dir.Path(statedir.Snapshot))
		if err == nil && (last == nil || !os.SameFile(last, info) || !last.ModTime().Equal(info.ModTime())) {
			last = info
			if err := c.adopt(); err != nil {
				c.deps.Log.Warn("configuration that the new process has saved cannot be read", zap.Error(err))
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// adopt makes what another process has saved current.
func (c *Client) adopt() error {
	raw, err := c.deps.Dir.Read(statedir.Snapshot)
	if err != nil {
		return err
	}
	saved, err := snapshot.Decode(c.cfg.Owner, raw, time.Now(), c.cfg.MaxAge)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !saved.State.Empty() {
		c.state = saved.State
		c.publish()
	}
	return nil
}

func (c *Client) saveLoop(ctx context.Context) error {
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		select {
		case <-c.save:
		case <-tick.C:
		case <-ctx.Done():
			c.write()
			return nil
		}
		if backoff.Sleep(ctx, settle) == nil {
			c.write()
		}
	}
}

// write saves what is held. Failures are logged once until they heal: the sidecar serves on without the file.
func (c *Client) write() {
	c.mu.Lock()
	saved := snapshot.Saved{State: c.state, Services: slices.Sorted(maps.Keys(c.wanted)), Addresses: slices.SortedFunc(maps.Keys(c.places), netip.Addr.Compare), At: c.stats.confirmed}
	if c.stats.current || saved.At.IsZero() {
		saved.At = time.Now()
	}
	c.mu.Unlock()
	raw, err := snapshot.Encode(saved)
	if err == nil {
		err = c.deps.Dir.Write(statedir.Snapshot, raw)
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	c.mu.Lock()
	changed := text != c.stats.saveErr
	c.stats.saveErr = text
	c.mu.Unlock()
	if changed && err != nil {
		c.deps.Log.Error("cannot save configuration", zap.Error(err))
	}
}
