package forward

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// slow is a client, a program and the engine between them, over pipes, in a bubble whose clock moves when nobody else does.
type slow struct {
	client, app net.Conn
	guard       *limit.Guard
	record      chan flow.Record
	budget      *wire.Budget
	also        sync.WaitGroup // what goes on beside the test
}

func slowly(t *testing.T, test func(s *slow)) {
	synctest.Test(t, func(t *testing.T) {
		client, clientEnd := net.Pipe()
		app, appEnd := net.Pipe()
		s := &slow{client: client, app: app, guard: limit.New(limit.Limits{}), record: make(chan flow.Record, 1), budget: wire.NewBudget(1<<20, func() {})}
		sweeper := &wire.Sweeper{Buffers: s.budget}
		go sweeper.Run(t.Context())
		link := &single{up: appEnd, sweeper: sweeper}
		e := New(Config{Upstream: link, Guard: s.guard, Buffers: s.budget, Emit: func(r *flow.Record) { s.record <- *r }})
		served := make(chan struct{})
		go func() {
			defer close(served)
			e.Serve(t.Context(), busy{}, wire.New(clientEnd, sweeper), link, flow.Record{})
		}()
		test(s)
		client.Close()
		app.Close()
		<-served
		s.also.Wait()
		if s.budget.Used() != 0 {
			t.Errorf("%d bytes are held in the end", s.budget.Used())
		}
	})
}

// ends checks why the request ended.
func (s *slow) ends(t *testing.T, reason flow.Reason, name limit.Name) {
	t.Helper()
	rec := <-s.record
	if over, ok := errors.AsType[*limit.Exceeded](rec.Err); rec.Reason != reason || !ok || over.Name != name || s.guard.Refused(name) != 1 {
		t.Errorf("want %v by %v once, got %v: %v, %d times", reason, name, rec.Reason, rec.Err, s.guard.Refused(name))
	}
}

// dribble sends a byte every second until the other end has had enough.
func (s *slow) dribble() {
	for {
		if _, err := io.WriteString(s.client, "x"); err != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// TestAttackSlowHead: a head that is dribbled has all its time together, not for each byte.
func TestAttackSlowHead(t *testing.T) {
	slowly(t, func(s *slow) {
		io.WriteString(s.client, "GET / HTTP/1.1\r\nx: ")
		answer := make(chan *http.Response, 1)
		s.also.Go(func() {
			resp, _ := http.ReadResponse(bufio.NewReader(s.client), nil)
			answer <- resp
		})
		s.also.Go(s.dribble)
		if resp := <-answer; resp == nil || resp.StatusCode != 408 || !strings.Contains(resp.Header.Get("weft-error"), "reason=too_slow,") {
			t.Errorf("got %+v", resp)
		}
		s.ends(t, flow.TooSlow, limit.HeadTime)
		s.client.Close()
	})
}

// TestAttackSlowBody: a body whose length was told has to come at a rate, whether it is small enough to be waited for or is
// streamed to the program.
func TestAttackSlowBody(t *testing.T) {
	for name, length := range map[string]string{"small": "1000", "streamed": "10000000"} {
		t.Run(name, func(t *testing.T) {
			slowly(t, func(s *slow) {
				s.also.Go(func() { io.Copy(io.Discard, s.app) })
				io.WriteString(s.client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: "+length+"\r\n\r\n")
				answer := make(chan *http.Response, 1)
				s.also.Go(func() {
					resp, _ := http.ReadResponse(bufio.NewReader(s.client), nil)
					answer <- resp
				})
				s.also.Go(s.dribble)
				if resp := <-answer; resp == nil || resp.StatusCode != 408 {
					t.Errorf("got %+v", resp)
				}
				s.ends(t, flow.TooSlow, limit.BodyRate)
				s.client.Close()
			})
		})
	}
}

// TestSlowIsNotTooSlow: a body at the rate that is allowed comes through, however long it takes; so does one without a length that
// pauses; and one for which the client waits until it is told to go on.
func TestSlowIsNotTooSlow(t *testing.T) {
	for _, tt := range []struct {
		name, head string
		wait       time.Duration // before the body
		pieces     []string
		every      time.Duration
	}{
		{"at the rate", "Content-Length: 30000\r\n", 0, strings.SplitAfter(strings.Repeat(strings.Repeat("x", 149)+"y", 200), "y"), time.Second},
		{"a conversation", "Transfer-Encoding: chunked\r\n", 0, []string{"1\r\na\r\n", "1\r\nb\r\n", "0\r\n\r\n"}, 10 * time.Minute},
		{"asks first", "Content-Length: 17000\r\nExpect: 100-continue\r\n", 10 * time.Minute, []string{strings.Repeat("x", 17000)}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			slowly(t, func(s *slow) {
				s.also.Go(func() {
					req, err := http.ReadRequest(bufio.NewReader(s.app))
					if err != nil {
						return
					}
					if req.Header.Get("Expect") != "" {
						time.Sleep(tt.wait)
						io.WriteString(s.app, "HTTP/1.1 100 Continue\r\n\r\n")
					}
					io.Copy(io.Discard, req.Body)
					io.WriteString(s.app, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				})
				s.also.Go(func() {
					io.WriteString(s.client, "POST / HTTP/1.1\r\nHost: a\r\n"+tt.head+"\r\n")
					time.Sleep(tt.wait)
					for _, piece := range tt.pieces {
						io.WriteString(s.client, piece)
						time.Sleep(tt.every)
					}
				})
				r := bufio.NewReader(s.client)
				resp, err := http.ReadResponse(r, nil)
				if err == nil && resp.StatusCode == 100 {
					resp, err = http.ReadResponse(r, nil)
				}
				if err != nil || resp.StatusCode != 200 {
					t.Errorf("got %+v, %v", resp, err)
				}
				if rec := <-s.record; rec.Reason != flow.None {
					t.Errorf("record %+v", rec)
				}
			})
		})
	}
}

// TestAttackSlowRead: a client that reads nothing of a response is let go, and so is what its request held.
func TestAttackSlowRead(t *testing.T) {
	slowly(t, func(s *slow) {
		s.also.Go(func() {
			http.ReadRequest(bufio.NewReader(s.app))
			io.WriteString(s.app, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
			(&flood{}).run(s.app)
		})
		io.WriteString(s.client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		begin := time.Now()
		s.ends(t, flow.TooSlow, limit.WriteStall)
		if took := time.Since(begin); took < time.Minute || took > time.Minute+time.Second {
			t.Errorf("after %v by the bubble's clock", took)
		}
	})
}
