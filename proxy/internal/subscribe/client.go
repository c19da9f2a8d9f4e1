package subscribe

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"go.uber.org/zap"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/lifecycle"
	"github.com/weft-mesh/weft/proxy/internal/snapshot"
	"github.com/weft-mesh/weft/proxy/internal/statedir"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/uplink"
)

// Config says what to subscribe to.
type Config struct {
	// Owner is the sidecar's own workload.
	Owner snapshot.Owner
	// Services that the workload declared ("namespace/name"): wanted from the start.
	Services []string
	// BuildVersion of this program, for people.
	BuildVersion string
	// MaxAge of a snapshot file that is still served from after a restart.
	MaxAge time.Duration
}

// Deps is what a client works with.
type Deps struct {
	// Link to the distributor.
	Link *uplink.Link
	// Dir keeps the snapshot file.
	Dir *statedir.Dir
	// Holder receives the tables.
	Holder *table.Holder
	// OnBundle receives every trust bundle, with the revision of identity that it belongs to (may be nil).
	OnBundle func(*x509bundle.Bundle, *typepb.SourceRevision)
	// Expiry is the end of validity of the current SVID, zero without one.
	Expiry func() time.Time
	// Log of this package.
	Log *zap.Logger
}

// Client is the sidecar's end of the config stream.
type Client struct {
	cfg  Config
	deps Deps
	wake chan struct{} // there are new wishes to send
	save chan struct{} // there is something new to save

	mu     sync.Mutex
	state  *snapshot.State
	wanted map[string]*wish
	places map[netip.Addr]*place
	// connected says that a stream is open, so that what is asked will be answered.
	connected bool
	sequence  uint64 // of the last table; 0: none yet
	// unpublished says that the state has something that the table does not show.
	unpublished bool
	stats       stats
}

// wish is a service whose body is wanted.
type wish struct {
	answered bool
	done     chan struct{} // closed once answered
}

type stats struct {
	current   bool      // the session has sent everything
	confirmed time.Time // when the distributor last said that all is as it should be
	updates   uint64
	reopened  uint64
	saveErr   string
}

// New makes a client that holds nothing.
func New(cfg Config, deps Deps) *Client {
	c := &Client{
		cfg:    cfg,
		deps:   deps,
		wake:   make(chan struct{}, 1),
		save:   make(chan struct{}, 1),
		state:  snapshot.New(cfg.Owner),
		wanted: map[string]*wish{},
		places: map[netip.Addr]*place{},
	}
	for _, name := range cfg.Services {
		c.Want(name)
	}
	return c
}

// Want subscribes to a service ("namespace/name"), if that has not happened yet. The channel is closed once the answer is
// there: the body is in the table, or the mesh does not know the service, or its configuration was refused. The caller waits
// as long as it sees fit, and not at all without a control plane.
func (c *Client) Want(service string) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.wanted[service]; w != nil {
		return w.done
	}
	w := &wish{done: make(chan struct{})}
	c.wanted[service] = w
	if c.state.HasService(service) {
		w.answer()
	}
	poke(c.wake)
	poke(c.save)
	return w.done
}

func (w *wish) answer() {
	if !w.answered {
		w.answered = true
		close(w.done)
	}
}

// Run keeps the stream and the snapshot file going until ctx ends.
func (c *Client) Run(ctx context.Context) error {
	var g lifecycle.Group
	g.Add("save", c.saveLoop)
	g.Add("addresses", c.forgetLoop)
	g.Add("stream", func(ctx context.Context) error { return c.deps.Link.Run(ctx, c.session) })
	return g.Run(ctx)
}

// apply takes an update: it checks, decodes, swaps the table, hands on the bundle and answers wishes, in this order.
func (c *Client) apply(u *configpb.Update) ([]*configpb.Nack, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.state.CheckForward(u.GetVector()); err != nil {
		return nil, err
	}
	next, nacks := c.state.Apply(u)
	c.state = next
	c.stats.updates++
	if len(u.GetResources())+len(u.GetRemoved())+len(u.GetIndex()) > 0 {
		c.unpublished = true
		poke(c.save)
	}
	// Before the first table, requests are held; a first table without, say, the access rules that come with the next update
	// would refuse them.
	first := c.sequence == 0
	if c.unpublished && (!first || u.GetCurrent()) {
		c.publish()
	}
	c.answer(u, first)
	for _, n := range nacks {
		c.deps.Log.Error("refused a resource", zap.String("resource", n.GetResource()), zap.String("version", n.GetVersion()), zap.String("error", n.GetError()))
	}
	return nacks, nil
}

// publish makes the state visible to traffic. The caller holds mu.
func (c *Client) publish() {
	if bundle, revision := c.state.Bundle(); bundle != nil {
		c.deps.OnBundle(bundle, revision)
	}
	c.sequence++
	t := c.state.Table(c.sequence)
	if last := c.deps.Holder.Load(); serves(last) && !serves(t) {
		// The workload is no longer in the catalogue, mostly because this sidecar has just taken it out. Callers hear of it on
		// their own; who has not heard yet is served until the end, and judged by the access rules as ever.
		t.Inbound = last.Inbound
	}
	c.deps.Holder.Store(t)
	c.unpublished = false
}

// serves says whether the sidecar's workload is an endpoint of some service.
func serves(t *table.Table) bool { return t != nil && t.Inbound != nil && len(t.Inbound.Ports) > 0 }

// answer closes the wishes that an update has settled: by a body, by a refusal, or by saying that there is none. With the
// first table every wish is settled, for nothing is missing then. The caller holds mu.
func (c *Client) answer(u *configpb.Update, first bool) {
	if c.sequence == 0 {
		return
	}
	if first {
		for _, w := range c.wanted {
			w.answer()
		}
		for _, p := range c.places {
			p.answer()
		}
	}
	for _, r := range u.GetResources() {
		c.settle(r.GetName())
	}
	for _, name := range u.GetRemoved() {
		c.settle(name)
	}
}

func (c *Client) settle(resource string) {
	if w := c.wanted[snapshot.ServiceOf(resource)]; w != nil {
		w.answer()
	}
	if p := c.places[snapshot.AddressOf(resource)]; p != nil {
		p.answer()
	}
}

// wishes are what one stream was told that is wanted.
type wishes struct {
	services  map[string]struct{}
	addresses map[netip.Addr]struct{}
}

// open says what this sidecar holds and wants; sent is what of the wishes it covers.
func (c *Client) open() (open *configpb.Open, sent wishes) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.current = false
	c.connected = true
	c.state = c.state.Reopened()
	sent = wishes{map[string]struct{}{}, map[netip.Addr]struct{}{}}
	all := c.news(sent)
	return &configpb.Open{
		Namespace:         c.cfg.Owner.Namespace,
		Workload:          c.cfg.Owner.Workload,
		Services:          all.GetAdd(),
		Addresses:         all.GetAddAddresses(),
		InitialVersions:   c.state.Versions(),
		IndexVersions:     c.state.IndexVersions(),
		Applied:           c.state.Vector(),
		BuildVersion:      c.cfg.BuildVersion,
		SvidExpireSeconds: expireSeconds(c.deps.Expiry()),
	}, sent
}

// unsent brings sent up to date and returns what is new, or nil.
func (c *Client) unsent(sent wishes) *configpb.Subscribe {
	c.mu.Lock()
	defer c.mu.Unlock()
	news := c.news(sent)
	if len(news.GetAdd())+len(news.GetAddAddresses())+len(news.GetRemoveAddresses()) == 0 {
		return nil
	}
	return news
}

// news is unsent with mu held.
func (c *Client) news(sent wishes) *configpb.Subscribe {
	out := &configpb.Subscribe{}
	for s := range c.wanted {
		if _, ok := sent.services[s]; !ok {
			sent.services[s] = struct{}{}
			out.Add = append(out.Add, s)
		}
	}
	for a, p := range c.places {
		if _, ok := sent.addresses[a]; !ok {
			sent.addresses[a], p.asked = struct{}{}, time.Now()
			out.AddAddresses = append(out.AddAddresses, a.String())
		}
	}
	for a := range sent.addresses {
		if _, ok := c.places[a]; !ok {
			delete(sent.addresses, a)
			out.RemoveAddresses = append(out.RemoveAddresses, a.String())
		}
	}
	slices.Sort(out.Add)
	slices.Sort(out.AddAddresses)
	slices.Sort(out.RemoveAddresses)
	return out
}

// confirm records what an update says about completeness and compares digests.
func (c *Client) confirm(u *configpb.Update) (current bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.current = c.stats.current || u.GetCurrent()
	if !c.stats.current {
		return false, nil
	}
	if want := u.GetDigest(); len(want) > 0 && string(want) != string(c.state.Digest()) {
		c.stats.reopened++
		return true, fmt.Errorf("%w: digest %x, expected %x", errDigest, c.state.Digest(), want)
	}
	c.stats.confirmed = time.Now()
	return true, nil
}

func expireSeconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// poke leaves a note that something is to be done; one is enough.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
