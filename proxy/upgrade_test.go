package proxy_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/weft-mesh/weft/internal/control"
	"github.com/weft-mesh/weft/proxy"
	"github.com/weft-mesh/weft/proxy/internal/successor"
)

// generations starts each new process of a sidecar as a proxy in this one.
type generations struct {
	t   *testing.T
	cfg proxy.Config

	mu    sync.Mutex
	wrong func(*proxy.Config) error // makes the next one a bad one; nil: it is good
	live  []*generation
}

// errHangs makes a new process that says nothing.
var errHangs = errors.New("hangs")

// spoil makes the next processes bad ones; nil: good ones again.
func (g *generations) spoil(wrong func(*proxy.Config) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wrong = wrong
}

type generation struct {
	cancel context.CancelFunc
	done   chan struct{}
	ended  chan error
}

func (g *generations) Start(context.Context, string) (successor.Process, error) {
	cfg := g.cfg
	cfg.TakeOver, cfg.JoinToken, cfg.Upgrade.Starter = true, "", g
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.wrong != nil {
		err := g.wrong(&cfg)
		if errors.Is(err, errHangs) {
			return &generation{cancel: func() {}}, nil
		}
		if err != nil {
			return nil, err
		}
	}
	p, err := proxy.New(cfg, zaptest.NewLogger(g.t).Named(cfg.Workload+" new"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &generation{cancel: cancel, done: make(chan struct{}), ended: make(chan error, 1)}
	go func() {
		defer close(n.done)
		n.ended <- p.Run(ctx)
	}()
	g.live = append(g.live, n)
	return n, nil
}

// stop ends all generations.
func (g *generations) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.live {
		n.cancel()
	}
	for _, n := range g.live {
		<-n.done
	}
}

func (n *generation) PID() int            { return os.Getpid() }
func (n *generation) Ended() <-chan error { return n.ended }
func (n *generation) End()                { n.cancel() }
func (n *generation) Done()               {}

// upgradable lets a sidecar of the rig, which is started again, be upgraded.
func (r *rig) upgradable(c *car) (*car, *generations) {
	r.t.Helper()
	if err := c.stop(); err != nil {
		r.t.Fatal(err)
	}
	g := &generations{t: r.t, cfg: c.cfg}
	r.t.Cleanup(g.stop)
	cfg := c.cfg
	cfg.Upgrade.Starter, cfg.Upgrade.Timeout = g, 2*time.Second
	g.cfg.Upgrade.Timeout = cfg.Upgrade.Timeout
	return r.start(cfg), g
}

// upgrade asks as `weft sidecar upgrade` does.
func (c *car) upgrade(ctx context.Context) error {
	conn, err := control.Dial(ctx, c.cfg.StateDir)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Send(control.Message{Kind: control.Upgrade}); err != nil {
		return err
	}
	m, err := conn.Expect(ctx, control.Upgraded)
	if err == nil && m.Error != "" {
		err = errors.New(m.Error)
	}
	return err
}

// load calls the shop's upstream all the time, over connections that are kept, and counts.
type load struct {
	done, failed atomic.Int64
	first        atomic.Pointer[string]
	stop         func()
}

func (r *rig) load(workers int) *load {
	l := &load{}
	ctx, cancel := context.WithCancel(r.ctx)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				// A body, and one that cannot be sent again: nobody retries this but the sidecars, if they may.
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.shop.ports.Upstreams["default/reviews:80"]+"/", io.NopCloser(strings.NewReader("order")))
				if err != nil {
					return
				}
				resp, err := client.Do(req)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						err = errors.New(resp.Status + " " + resp.Header.Get("weft-error"))
					}
				}
				switch {
				case ctx.Err() != nil:
				case err != nil:
					l.failed.Add(1)
					text := err.Error()
					l.first.CompareAndSwap(nil, &text)
				default:
					l.done.Add(1)
				}
			}
		})
	}
	l.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	r.t.Cleanup(l.stop)
	return l
}

// more waits until some more requests have been answered.
func (r *rig) more(l *load) {
	r.t.Helper()
	from := l.done.Load()
	r.until("more requests", func() error {
		if l.done.Load() < from+200 && l.failed.Load() == 0 {
			return errors.New("too few")
		}
		return nil
	})
}

// TestUpgradeLosesNothing: both sidecars are upgraded several times under load, with the control plane and without it. No
// request fails, the workload never leaves the catalogue, ports stay, and an upgrade that goes wrong changes nothing.
func TestUpgradeLosesNothing(t *testing.T) {
	r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(w, req.Body)
	}))
	reviews, reviewsNext := r.upgradable(r.reviews)
	shop, _ := r.upgradable(r.shop)
	r.shop = shop
	if _, err := r.plane.Discovery.Await(r.ctx, "default/reviews-1", true); err != nil {
		t.Fatal(err)
	}
	left := r.plane.Discovery.Removals()
	before, err := os.ReadFile(filepath.Join(reviews.cfg.StateDir, "ports.json"))
	if err != nil {
		t.Fatal(err)
	}
	l := r.load(4)
	both := func(when string) {
		t.Helper()
		for name, c := range map[string]*car{"reviews": reviews, "shop": shop} {
			if err := c.upgrade(r.ctx); err != nil {
				t.Fatalf("upgrade of %s %s: %v", name, when, err)
			}
			r.more(l)
		}
	}
	if err := reviews.upgrade(r.ctx); err != nil {
		t.Fatal(err)
	}
	r.more(l)
	if m, err := reviews.admin("/metrics"); err != nil || !regexp.MustCompile(`handshakes_total\{direction="inbound",result="resumed"\} [1-9]`).MatchString(m) {
		t.Errorf("no caller could resume its session with the new process: %v", err)
	}
	both("once")
	both("twice")
	r.until("readiness of the new process", func() error {
		_, err := reviews.admin("/readyz")
		return err
	})
	for name, wrong := range map[string]func(*proxy.Config) error{
		"it hangs":               func(*proxy.Config) error { return errHangs },
		"it does not start":      func(*proxy.Config) error { return errors.New("no such file") },
		"it is of somebody else": func(cfg *proxy.Config) error { cfg.Namespace = "other"; return nil },
		"a port is not a port":   func(cfg *proxy.Config) error { cfg.Services, cfg.AppPort = []string{"a"}, 0; return nil },
	} {
		reviewsNext.spoil(wrong)
		if err := reviews.upgrade(r.ctx); err == nil {
			t.Errorf("%s: the upgrade succeeded", name)
		}
		r.more(l)
	}
	reviewsNext.spoil(nil)
	r.plane.Stop()
	both("without a control plane")
	if _, err := reviews.admin("/readyz"); err != nil {
		t.Errorf("readiness of a process that took over while the control plane was away: %v", err)
	}
	r.plane.Start()
	both("with the control plane back")
	l.stop()
	if n := l.failed.Load(); n != 0 {
		t.Errorf("%d of %d requests failed, the first with: %s", n, n+l.done.Load(), *l.first.Load())
	}
	if n := r.plane.Discovery.Removals(); n != left {
		t.Errorf("the workload left the catalogue %d times", n-left)
	}
	after, err := os.ReadFile(filepath.Join(reviews.cfg.StateDir, "ports.json"))
	if err != nil || string(after) != string(before) {
		t.Errorf("ports: before %s, after %s, %v", before, after, err)
	}
	t.Logf("%d requests", l.done.Load())
}

// TestUpgradeLeavesConnectionsAlone: what has begun before an upgrade goes on in the old process, which still obeys a change of
// access, and ends when it has nothing left.
func TestUpgradeLeavesConnectionsAlone(t *testing.T) {
	words := make(chan string)
	r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		for {
			select {
			case word := <-words:
				_, _ = io.WriteString(w, word)
				_ = http.NewResponseController(w).Flush()
			case <-req.Context().Done():
				return
			}
		}
	}))
	reviews, _ := r.upgradable(r.reviews)
	shop, _ := r.upgradable(r.shop)
	r.shop = shop
	if _, err := r.plane.Discovery.Await(r.ctx, "default/reviews-1", true); err != nil {
		t.Fatal(err)
	}
	say := func(word string) {
		select {
		case words <- word:
		case <-r.ctx.Done():
			t.Error("the program has lost its request")
		}
	}
	go say("one ")
	resp, err := http.Get("http://" + shop.ports.Upstreams["default/reviews:80"] + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	expect := func(word string) {
		t.Helper()
		b := make([]byte, len(word))
		if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != word {
			t.Fatalf("want %q, got %q, %v", word, b, err)
		}
	}
	expect("one ")
	for _, word := range []string{"two ", "three "} {
		for _, c := range []*car{reviews, shop} {
			if err := c.upgrade(r.ctx); err != nil {
				t.Fatal(err)
			}
		}
		say(word)
		expect(word)
	}
	for name, c := range map[string]*car{"reviews": reviews, "shop": shop} {
		select {
		case err := <-c.done:
			t.Fatalf("the first process of %s ended with a connection: %v", name, err)
		default:
		}
	}
	r.plane.Distributor.Set("default/reviews-1", mesh(), access(false), inboundOf("reviews-1", reviews.cfg.AppPort))
	if rest, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the response went on to a regular end after access was taken away: %q", rest)
	}
	for name, c := range map[string]*car{"reviews": reviews, "shop": shop} {
		select {
		case err := <-c.done:
			c.done <- err
			if err != nil {
				t.Errorf("end of the first process of %s: %v", name, err)
			}
		case <-r.ctx.Done():
			t.Errorf("the first process of %s did not end by itself", name)
		}
	}
}
