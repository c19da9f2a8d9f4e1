package walktest

import (
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// bystanding is how many requests others make at least while an attack goes on.
const bystanding = 20

// siege is a pair of sidecars of which one is attacked at one of its doors, while others go on with their requests through both.
type siege struct {
	t       *testing.T
	addr    string // the door
	records *Records
	guard   *limit.Guard
	before  uint64 // heap in use
}

// sieges runs an attack at each door: the client's sidecar, and the plaintext port of the program's. It fails when one request of
// the bystanders does, or when buffers are still held once all is over. goleak, at the end of the package, finds what else is.
func sieges(t *testing.T, limits limit.Limits, protocol table.Protocol, app func(*testing.T) net.Addr, attack func(*siege)) {
	for _, door := range []string{"outbound", "inbound"} {
		t.Run(door, func(t *testing.T) {
			var w *Workload
			var c *Client
			t.Cleanup(func() { // the last of all: everything has ended
				if out, in := c.Outbound.Buffered(), w.Inbound.Buffered(); out != 0 || in != 0 {
					t.Errorf("%d and %d bytes of buffers are still held", out, in)
				}
			})
			m := New(t)
			m.Limits = limits
			m.Service("web", protocol)
			w = m.Sidecar("web", "web-1", app(t), &table.Access{Open: true})
			m.Add(w.Endpoint)
			c = m.Client("shop")
			s := &siege{t: t, addr: c.Upstream("web"), records: c.Records, guard: c.Outbound.Guard()}
			others := "http://" + s.addr + "/bystander"
			if door == "inbound" {
				s.addr, s.records, s.guard = w.Plain, w.Records, w.Inbound.Guard()
			}
			cl := client(t)
			if protocol == table.HTTP2 {
				cl = client2(t)
			}
			// Its own connection: nobody else is on it.
			if resp, _ := get(t, cl, others); resp.StatusCode != 200 {
				t.Fatalf("before the attack: %d", resp.StatusCode)
			}
			s.before = inUse()
			over, done := make(chan struct{}), make(chan error, 1)
			go func() { done <- bystand(cl, others, over) }()
			attack(s)
			close(over)
			if err := <-done; err != nil {
				t.Errorf("a bystander noticed: %v", err)
			}
		})
	}
}

// bystand makes requests until over, and some more if there were few.
func bystand(cl *http.Client, url string, over <-chan struct{}) error {
	for n := 0; ; n++ {
		resp, err := cl.Get(url)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		if resp.StatusCode != 200 {
			return errors.New(resp.Status + " " + resp.Header.Get("weft-error"))
		}
		select {
		case <-over:
			if n >= bystanding {
				return nil
			}
		default:
		}
	}
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// holdsAtMost checks the memory of the whole process, so that also the attacker's own and the records are in it.
func (s *siege) holdsAtMost(bytes int64) {
	s.t.Helper()
	if more := int64(inUse()) - int64(s.before); more > bytes {
		s.t.Errorf("%d KB more are in use than before, %d are allowed", more>>10, bytes>>10)
	}
}

// counted checks that the metric of a limit has moved.
func (s *siege) counted(name limit.Name) {
	s.t.Helper()
	if s.guard.Refused(name) == 0 {
		s.t.Errorf("nothing is counted for %v", name)
	}
}

// recorded waits for a record of the attacked door that has failed by reason and names the limit.
func (s *siege) recorded(reason flow.Reason, name limit.Name) {
	s.t.Helper()
	for seen := 0; ; {
		list := s.records.Wait(seen + 1)
		for _, rec := range list[seen:] {
			if over, ok := errors.AsType[*limit.Exceeded](rec.Err); rec.Reason == reason && ok && over.Name == name {
				return
			}
		}
		seen = len(list)
	}
}

// answered checks that an answer has a status and tells of the limit.
func answered(t *testing.T, got, status string, reason flow.Reason, name limit.Name) {
	t.Helper()
	if !strings.HasPrefix(got, "HTTP/1.1 "+status+" ") || !strings.Contains(got, "reason="+reason.String()+", id=") || !strings.Contains(got, "over the limit "+name.String()) {
		t.Errorf("want %s, %v, %v; got %q", status, reason, name, got)
	}
}

// mebibyte is what memory is stated in.
const mebibyte = 1 << 20
