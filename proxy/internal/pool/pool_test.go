package pool_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/proxy/internal/pool"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// pipes dials in-memory connections, whose other ends it closes at the end of the test.
func pipes(t *testing.T) pool.Dial {
	return func(context.Context, *table.Endpoint) (net.Conn, error) {
		a, b := net.Pipe()
		t.Cleanup(func() { b.Close() })
		return a, nil
	}
}

func get(t *testing.T, p *pool.Pool, key string) *wire.Conn {
	t.Helper()
	c, err := p.Get(t.Context(), &table.Endpoint{Key: key}, false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestE4_LastInFirstOut(t *testing.T) {
	p := pool.New(pool.Config{Dial: pipes(t), Identity: spiffe.NewSource(nil), MaxIdle: 2})
	defer p.Close()
	a, b, c := get(t, p, "x"), get(t, p, "x"), get(t, p, "x")
	if !a.Fresh || p.Counters.Dialled.Load() != 3 {
		t.Error("connections are not new")
	}
	p.Put(a)
	p.Put(b)
	p.Put(c) // one too many
	if p.Idle() != 2 {
		t.Errorf("%d idle", p.Idle())
	}
	if other := get(t, p, "y"); other == a || other == b {
		t.Error("a connection went to another endpoint")
	} else {
		defer other.Close()
	}
	if got := get(t, p, "x"); got != b || got.Fresh {
		t.Error("not the last one")
	} else {
		p.Put(got)
	}
}

func TestConnectionsEndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool.New(pool.Config{Dial: pipes(t), Identity: spiffe.NewSource(nil)})
		old := get(t, p, "x")
		p.Put(old)
		time.Sleep(51 * time.Second)
		if got := get(t, p, "x"); got == old {
			t.Error("handed out after the idle timeout")
		} else {
			p.Put(got)
		}
		time.Sleep(51 * time.Second)
		p.Sweep(time.Now())
		if p.Idle() != 0 {
			t.Errorf("%d idle after the sweep", p.Idle())
		}
		aged := get(t, p, "x")
		time.Sleep(11 * time.Minute)
		p.Put(aged)
		if p.Idle() != 0 {
			t.Error("kept beyond its age")
		}
	})
}

func TestConnectionsBelongToIdentityAndBundle(t *testing.T) {
	ca := testca.New(t, "weft.local")
	source := ca.Source(t, spiffe.Account{Namespace: "default", Name: "shop"})
	p := pool.New(pool.Config{Dial: pipes(t), Identity: source})
	defer p.Close()
	first := get(t, p, "x")
	p.Put(first)
	if again := get(t, p, "x"); again != first {
		t.Error("not used again")
	}
	p.Put(first)
	source.SetBundle(testca.New(t, "weft.local").Bundle())
	second := get(t, p, "x")
	if second == first {
		t.Error("used again under another bundle")
	}
	p.Put(second)
	source.Set(ca.SVID(t, spiffe.Account{Namespace: "default", Name: "other"}))
	third := get(t, p, "x")
	if third == second {
		t.Error("used again under another identity")
	}
	p.Put(third)
}

func TestRetainForgetsEndpoints(t *testing.T) {
	p := pool.New(pool.Config{Dial: pipes(t), Identity: spiffe.NewSource(nil)})
	defer p.Close()
	kept, gone, used := get(t, p, "kept"), get(t, p, "gone"), get(t, p, "gone")
	p.Put(kept)
	p.Put(gone)
	p.Retain(func(key string) bool { return key == "kept" })
	p.Put(used) // came back later
	if p.Idle() != 1 {
		t.Errorf("%d idle", p.Idle())
	}
}

func TestDialErrorsPass(t *testing.T) {
	want := errors.New("no")
	p := pool.New(pool.Config{Identity: spiffe.NewSource(nil), Dial: func(context.Context, *table.Endpoint) (net.Conn, error) { return nil, want }})
	if _, err := p.Get(t.Context(), &table.Endpoint{Key: "x"}, true); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}
