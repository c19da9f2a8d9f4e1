package walktest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// hangUp reads whole requests and closes without a word.
func hangUp(count *atomic.Int64) func(net.Conn) {
	return func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		io.Copy(io.Discard, r.Body)
		count.Add(1)
	}
}

func roundRobin(m *Mesh, service string) {
	m.Change(func(_ *table.Mesh, services map[string]*table.Service) {
		services["default/"+service].Balancing = table.RoundRobin
	})
}

func TestL2_EachRequestIsBalanced(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	roundRobin(m, "web")
	var mu sync.Mutex
	seen := map[string]int{}
	for _, name := range []string{"web-1", "web-2", "web-3"} {
		m.Workload("web", name, server(t, func(http.ResponseWriter, *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			seen[name]++
		}), m.Allow("shop"))
	}
	c := m.Client("shop")
	cl, url := client(t), "http://"+c.Upstream("web")+"/"
	for range 9 { // on one connection
		get(t, cl, url)
	}
	if seen["web-1"] != 3 || seen["web-2"] != 3 || seen["web-3"] != 3 {
		t.Errorf("got %v", seen)
	}
}

func TestR4_ConnectFailureGoesElsewhere(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	roundRobin(m, "web")
	m.Add(Plain("web", "web-0", Refusing(t)))
	m.Workload("web", "web-1", server(t, echo), m.Allow("shop"))
	c := m.Client("shop")
	cl, url := client(t), "http://"+c.Upstream("web")+"/"
	for range 4 { // POST too: nothing was sent
		resp, err := cl.Post(url, "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("got %d", resp.StatusCode)
		}
	}
	tries := 0
	for _, rec := range c.Records.Wait(4) {
		tries = max(tries, rec.Tries)
		if rec.Endpoint == nil || rec.Endpoint.Workload != "default/web-1" {
			t.Errorf("record %+v", rec)
		}
	}
	if tries != 2 {
		t.Errorf("at most %d tries", tries)
	}
}

func TestR4_PostIsNotReplayedOnceSent(t *testing.T) {
	var received atomic.Int64
	m := New(t)
	m.Service("web", table.HTTP)
	m.Add(Plain("web", "web-1", program(t, hangUp(&received))))
	m.Add(Plain("web", "web-2", program(t, hangUp(&received))))
	c := m.Client("shop")
	resp, err := client(t).Post("http://"+c.Upstream("web")+"/", "text/plain", strings.NewReader("order"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 502 || !strings.Contains(resp.Header.Get("weft-error"), "hop=outbound, reason=upstream_reset, id=") {
		t.Errorf("got %d %q", resp.StatusCode, resp.Header.Get("weft-error"))
	}
	if received.Load() != 1 {
		t.Errorf("the order arrived %d times", received.Load())
	}
	if rec := c.Records.Wait(1)[0]; rec.Reason != flow.UpstreamReset || rec.Tries != 1 || rec.Status != 502 {
		t.Errorf("record %+v", rec)
	}
}

func TestR4_ResetBeforeResponseIsRetriedIfIdempotent(t *testing.T) {
	var received atomic.Int64
	m := New(t)
	m.Service("web", table.HTTP)
	roundRobin(m, "web")
	m.Add(Plain("web", "web-1", program(t, hangUp(&received))))
	m.Add(Plain("web", "web-2", server(t, echo)))
	c := m.Client("shop")
	cl, url := client(t), "http://"+c.Upstream("web")+"/"
	for range 2 {
		if resp, _ := get(t, cl, url); resp.StatusCode != 200 {
			t.Errorf("got %d", resp.StatusCode)
		}
	}
	if received.Load() == 0 {
		t.Error("nothing went to the broken one")
	}
}

func TestR4_BudgetStopsRetries(t *testing.T) {
	m := New(t)
	m.Change(func(mesh *table.Mesh, _ map[string]*table.Service) { mesh.Retry = table.RetryBudget{} })
	m.Service("web", table.HTTP)
	var received atomic.Int64
	for _, name := range []string{"web-1", "web-2", "web-3"} {
		m.Add(Plain("web", name, program(t, hangUp(&received))))
	}
	c := m.Client("shop")
	cl, url := client(t), "http://"+c.Upstream("web")+"/"
	for range 3 {
		get(t, cl, url) // what the budget was born with
	}
	before := received.Load()
	for range 20 {
		get(t, cl, url)
	}
	if after := received.Load() - before; after > 30 {
		t.Errorf("%d tries for 20 requests", after)
	}
}

func TestR4_StatusesOfTheRouteAreRetried(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	m.Change(func(_ *table.Mesh, services map[string]*table.Service) {
		services["default/web"].Rules[0].Retry = table.RetryPolicy{Attempts: 2, Statuses: []int{503}}
	})
	var received atomic.Int64
	m.Workload("web", "web-1", server(t, func(w http.ResponseWriter, r *http.Request) {
		if received.Add(1)%3 != 0 {
			w.WriteHeader(503)
		}
	}), m.Allow("shop"))
	c := m.Client("shop")
	cl, url := client(t), "http://"+c.Upstream("web")+"/"
	if resp, _ := get(t, cl, url); resp.StatusCode != 200 {
		t.Errorf("got %d", resp.StatusCode)
	}
	resp, err := cl.Post(url, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 503 {
		t.Errorf("POST: got %d", resp.StatusCode)
	}
	recs := c.Records.Wait(2)
	if recs[0].Tries != 3 || recs[1].Tries != 1 {
		t.Errorf("tries %d and %d", recs[0].Tries, recs[1].Tries)
	}
}

func TestR4_TimeoutOfTheRoute(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	m.Change(func(_ *table.Mesh, services map[string]*table.Service) {
		services["default/web"].Rules[0].Timeout = 50 * time.Millisecond
	})
	hang := make(chan struct{})
	var slow atomic.Bool
	slow.Store(true)
	m.Workload("web", "web-1", server(t, func(w http.ResponseWriter, r *http.Request) {
		if slow.Load() {
			<-hang
		}
	}), m.Allow("shop"))
	t.Cleanup(func() { close(hang) })
	c := m.Client("shop")
	cl, url := client(t), "http://"+c.Upstream("web")+"/"
	resp, _ := get(t, cl, url)
	if resp.StatusCode != 504 || !strings.Contains(resp.Header.Get("weft-error"), "reason=timeout") {
		t.Errorf("got %d %q", resp.StatusCode, resp.Header.Get("weft-error"))
	}
	slow.Store(false)
	if resp, _ := get(t, cl, url); resp.StatusCode != 200 {
		t.Errorf("afterwards: got %d", resp.StatusCode)
	}
}

func TestR4_StaleConnectionIsFoundBeforeUse(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	closed := make(chan struct{}, 10)
	m.Add(Plain("web", "web-1", program(t, func(c net.Conn) { // one response, then silence and the end
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		c.Close()
		closed <- struct{}{}
	})))
	c := m.Client("shop")
	// One connection of the client's, so that each request begins after the sidecar has put the connection of the last away.
	conn, err := net.Dial("tcp", c.Upstream("web"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for range 5 {
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 1\r\n\r\nx")
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 200 {
			t.Errorf("got %d", resp.StatusCode)
		}
		<-closed // loopback delivers the end at once
	}
	// Each was found out before it was used. (One may be found when it is put away already, and does not count as stale.)
	n := c.Outbound.Connections()
	if n.Reused.Load() != 0 || n.Dialled.Load() != 5 || n.Stale.Load() == 0 {
		t.Errorf("%d connections were dialled, %d used again, %d found stale", n.Dialled.Load(), n.Reused.Load(), n.Stale.Load())
	}
}

// TestUnsolicitedResponseReachesNobody: what a program says while its connection is idle is not the answer to the next request.
func TestUnsolicitedResponseReachesNobody(t *testing.T) {
	told, said := make(chan struct{}), make(chan struct{})
	app := raw(func(c net.Conn) {
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			body, _ := io.ReadAll(req.Body)
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			<-told // the client has its answer
			io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nevil")
			said <- struct{}{}
		}
	})
	walks(t, table.HTTP, app, func(t *testing.T, w *walk) {
		conn := dial(t, w.addr)
		answers := bufio.NewReader(conn)
		for i := range 5 {
			fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n%d", i)
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != 200 || string(body) != fmt.Sprint(i) {
				t.Errorf("got %d %q, %v", resp.StatusCode, body, err)
			}
			told <- struct{}{}
			<-said // loopback delivers what was said at once
		}
	})
}

func TestR5_RetrySeesTheNewestEndpoints(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	roundRobin(m, "web")
	fresh := Plain("web", "web-3", server(t, echo))
	var removed *table.Endpoint
	var asked atomic.Int64
	first := program(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		m.Remove(removed.Key) // in between, while the request is on its way
		m.Add(fresh)
	})
	removed = Plain("web", "web-2", server(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	m.Add(Plain("web", "web-1", first))
	c := m.Client("shop")
	m.Add(removed)
	m.Change(func(_ *table.Mesh, services map[string]*table.Service) {
		set := services["default/web"].Rules[0].Backends[0].Set
		set.Endpoints = set.Endpoints[:2]
	})
	url := "http://" + c.Upstream("web") + "/"
	for range 2 {
		if resp, _ := get(t, client(t), url); resp.StatusCode != 200 {
			t.Errorf("got %d", resp.StatusCode)
		}
		if rec := c.Records.Wait(1)[0]; rec.Tries == 2 && rec.Endpoint.Workload != "default/web-3" {
			t.Errorf("the retry went to %s", rec.Endpoint.Workload)
		}
	}
	for _, rec := range c.Records.Wait(2) {
		if rec.Tries == 2 {
			return
		}
	}
	t.Error("no request was retried")
}
