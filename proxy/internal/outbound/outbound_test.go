package outbound_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/health"
	"github.com/weft-mesh/weft/proxy/internal/outbound"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/walktest"
)

// serve runs a server for "default/web" until the test ends.
func serve(t *testing.T, m *walktest.Mesh, tables *table.Holder, want func(string)) (*outbound.Server, string, *walktest.Records) {
	t.Helper()
	records := &walktest.Records{}
	s := outbound.New(outbound.Config{
		Tables: tables, Identity: m.CA.Source(t, walktest.Account("shop")), Health: health.NewRegistry(), Want: want, Emit: records.Emit,
	})
	ln := walktest.Listen(t)
	walktest.Run(t, s.Run)
	walktest.Run(t, func(ctx context.Context) error {
		return s.Serve(ctx, ln, outbound.Upstream{Service: "default/web", Port: 80})
	})
	return s, ln.Addr().String(), records
}

type known struct{ table.Index }

func (known) Lookup(name string) (table.IndexEntry, bool) { return table.IndexEntry{Name: name}, true }

func TestServiceIsSubscribedOnFirstUse(t *testing.T) {
	m := walktest.New(t)
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(app.Close)
	m.Service("web", table.HTTP)
	m.Add(walktest.Plain("web", "web-1", app.Listener.Addr()))
	full := m.Client("somebody").Tables.Load()
	tables := &table.Holder{}
	tables.Store(&table.Table{Mesh: full.Mesh, Index: known{}})
	var asked atomic.Int64
	_, addr, _ := serve(t, m, tables, func(service string) {
		if service == "default/web" && asked.Add(1) == 1 {
			go tables.Store(full)
		}
	})
	resp, err := http.Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != 200 || asked.Load() == 0 {
		t.Errorf("got %d, asked %d times", resp.StatusCode, asked.Load())
	}
}

func TestUnknownBodyIsNotSubscribed(t *testing.T) {
	m := walktest.New(t)
	tables := &table.Holder{}
	tables.Store(&table.Table{Index: known{}})
	_, addr, records := serve(t, m, tables, nil)
	resp, err := http.Get("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != 503 || !strings.Contains(resp.Header.Get("weft-error"), "reason=not_subscribed,") {
		t.Errorf("got %d %q", resp.StatusCode, resp.Header.Get("weft-error"))
	}
	if rec := records.Wait(1)[0]; rec.Reason != flow.NotSubscribed || rec.Service != "default/web" {
		t.Errorf("record %+v", rec)
	}
}

func TestDrainLosesNothing(t *testing.T) {
	m := walktest.New(t)
	m.Service("web", table.HTTP)
	begun, finish := make(chan struct{}), make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-finish
		}
		io.WriteString(w, "whole")
	}))
	t.Cleanup(app.Close)
	m.Add(walktest.Plain("web", "web-1", app.Listener.Addr()))
	c := m.Client("shop")
	addr := c.Upstream("web")

	idle, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	r := bufio.NewReader(idle)
	request := func() *http.Response {
		t.Helper()
		io.WriteString(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.ReadAll(resp.Body)
		return resp
	}
	request()

	end := sync.OnceFunc(func() { close(finish) })
	defer end() // a test that fails ends too
	slow := make(chan string)
	go func() {
		resp, err := http.Get("http://" + addr + "/slow")
		if err != nil {
			slow <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		slow <- string(body)
	}()
	<-begun
	drained := make(chan error)
	go func() { drained <- c.Outbound.Drain(t.Context()) }()
	for !c.Outbound.Draining() {
		runtime.Gosched()
	}
	if resp := request(); !resp.Close || resp.StatusCode != 200 {
		t.Errorf("a request while draining: got %d, close %v", resp.StatusCode, resp.Close)
	}
	end()
	if got := <-slow; got != "whole" {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestDrainGivesUpInTime(t *testing.T) {
	m := walktest.New(t)
	m.Service("web", table.TCP)
	quiet := walktest.Listen(t)
	t.Cleanup(func() { quiet.Close() })
	m.Add(walktest.Plain("web", "web-1", quiet.Addr()))
	c := m.Client("shop")
	conn, err := net.Dial("tcp", c.Upstream("web"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	other, err := quiet.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Outbound.Drain(ctx); err == nil || !strings.Contains(err.Error(), "1 requests, streams and sessions cut") {
		t.Errorf("got %v", err)
	}
}
