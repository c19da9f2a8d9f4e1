package h2_test

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

func post(r *raw, id uint32, body string) {
	r.headers(id, false, ":method", "POST", ":scheme", "http", ":path", "/p", ":authority", "echo")
	half := len(body) / 2
	r.must(r.fr.WriteData(id, false, []byte(body[:half])))
	r.must(r.fr.WriteData(id, true, []byte(body[half:])))
}

func TestR4_RetriesOnlyWhatIsSafe(t *testing.T) {
	refuse := func(_ int, r *raw) {
		r.requests(func(id uint32, _ map[string]string, _ string) {
			_ = r.fr.WriteRSTStream(id, http2.ErrCodeRefusedStream)
		})
	}
	reset := func(_ int, r *raw) {
		r.requests(func(id uint32, _ map[string]string, _ string) { _ = r.fr.WriteRSTStream(id, http2.ErrCodeInternal) })
	}
	hangUp := func(_ int, r *raw) {
		r.requests(func(uint32, map[string]string, string) { r.nc.Close() })
	}
	goAway := func(_ int, r *raw) {
		r.requests(func(uint32, map[string]string, string) { _ = r.fr.WriteGoAway(0, http2.ErrCodeNo, nil) })
	}
	unavailable := func(_ int, r *raw) {
		r.requests(func(id uint32, _ map[string]string, _ string) { r.headers(id, true, ":status", "503") })
	}
	halfway := func(_ int, r *raw) {
		r.requests(func(id uint32, _ map[string]string, _ string) {
			r.headers(id, false, ":status", "200")
			_ = r.fr.WriteRSTStream(id, http2.ErrCodeRefusedStream)
		})
	}
	statuses := table.Rule{Retry: table.RetryPolicy{Attempts: 1, Statuses: []int{503}}}
	for _, tc := range []struct {
		name   string
		first  func(int, *raw)
		rule   table.Rule
		post   bool
		again  bool
		reason flow.Reason
		reset  bool
	}{
		{name: "no connection, POST", post: true, again: true},
		{name: "REFUSED_STREAM, POST", first: refuse, post: true, again: true},
		{name: "GOAWAY below the stream, POST", first: goAway, post: true, again: true},
		{name: "connection lost, GET", first: hangUp, again: true},
		{name: "connection lost, POST", first: hangUp, post: true, reason: flow.UpstreamReset},
		{name: "reset, GET", first: reset, again: true},
		{name: "reset, POST", first: reset, post: true, reason: flow.UpstreamReset, reset: true},
		{name: "reset after the response began, GET", first: halfway, reason: flow.UpstreamReset, reset: true},
		{name: "status without a policy, GET", first: unavailable},
		{name: "status with a policy, GET", first: unavailable, rule: statuses, again: true},
		{name: "status with a policy, POST", first: unavailable, rule: statuses, post: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			first := deadEndpoint(t)
			if tc.first != nil {
				first = upstream(t, "first", tc.first)
			}
			m := newOutbound(t, []*table.Endpoint{first, upstream(t, "second", echo("second"))}, withRule(tc.rule))
			r := dialRaw(t, m.addr)
			body := ""
			if tc.post {
				body = strings.Repeat("b", 20_000)
				post(r, 1, body)
			} else {
				r.get(1, "/p")
			}
			got := r.response(1)
			if again := got.fields["x-by"] == "second"; again != tc.again || again && (got.status != "200" || got.body != body) {
				t.Errorf("sent again: %v, want %v; status %q, %d bytes of %d", again, tc.again, got.status, len(got.body), len(body))
			}
			if got.isReset != tc.reset {
				t.Errorf("reset %v, want %v", got.isReset, tc.reset)
			}
			rec := m.out.wait(1)[0]
			if tries := 1 + map[bool]int{true: 1}[tc.again]; rec.Tries != tries || rec.Reason != tc.reason {
				t.Errorf("%d tries, reason %q; want %d, %q", rec.Tries, rec.Reason, tries, tc.reason)
			}
			if !tc.reset && tc.reason != flow.None && got.status != "502" {
				t.Errorf("status %q, want 502", got.status)
			}
		})
	}
}

func TestR4_LargeBodiesAreNotReplayed(t *testing.T) {
	refuse := func(_ int, r *raw) {
		r.requests(func(id uint32, _ map[string]string, _ string) {
			_ = r.fr.WriteRSTStream(id, http2.ErrCodeRefusedStream)
		})
	}
	m := newOutbound(t, []*table.Endpoint{upstream(t, "first", refuse), upstream(t, "second", echo("second"))})
	r := dialRaw(t, m.addr)
	r.headers(1, false, ":method", "PUT", ":scheme", "http", ":path", "/p", ":authority", "echo")
	for i := range 6 {
		r.must(r.fr.WriteData(1, i == 5, make([]byte, 16<<10)))
	}
	if got := r.response(1); !got.isReset || got.reset != http2.ErrCodeRefusedStream {
		t.Errorf("got %+v, want the endpoint's own reset", got)
	}
}

func TestR5_ARetryUsesTheNewestTable(t *testing.T) {
	var m *mesh
	third := upstream(t, "third", echo("third"))
	first := upstream(t, "first", func(_ int, r *raw) {
		r.requests(func(id uint32, _ map[string]string, _ string) {
			// Between the tries, the second endpoint goes and the third one comes.
			m.store(&table.EndpointSet{Key: service, Service: service, Endpoints: []*table.Endpoint{m.set.Endpoints[0], third}})
			_ = r.fr.WriteRSTStream(id, http2.ErrCodeRefusedStream)
		})
	})
	m = newOutbound(t, []*table.Endpoint{first, upstream(t, "second", echo("second"))})
	r := dialRaw(t, m.addr)
	r.get(1, "/")
	if got := r.response(1); got.fields["x-by"] != "third" {
		t.Errorf("answered by %q, want the third", got.fields["x-by"])
	}
}

func TestPerTryTimeout(t *testing.T) {
	silent := upstream(t, "silent", func(_ int, r *raw) { r.requests(func(uint32, map[string]string, string) {}) })
	m := newOutbound(t, []*table.Endpoint{silent, upstream(t, "second", echo("second"))},
		withRule(table.Rule{Retry: table.RetryPolicy{Attempts: 1, PerTry: 300 * time.Millisecond}}))
	r := dialRaw(t, m.addr)
	r.get(1, "/")
	if got := r.response(1); got.fields["x-by"] != "second" {
		t.Errorf("got %+v, want the second endpoint's answer", got)
	}
}

func TestFailuresAreReadable(t *testing.T) {
	m := newOutbound(t, []*table.Endpoint{deadEndpoint(t)})
	r := dialRaw(t, m.addr)
	r.get(1, "/", "x-request-id", "mine")
	got := r.response(1)
	if got.status != "503" || got.fields["weft-error"] != "hop=outbound, reason=connect, id=mine" ||
		got.fields["content-type"] != "text/plain; charset=utf-8" || !strings.Contains(got.body, flow.Connect.Info().Advice) {
		t.Errorf("got %+v", got)
	}
	m.store(&table.EndpointSet{Key: "empty", Service: service})
	r.get(3, "/")
	if got := r.response(3); !strings.Contains(got.fields["weft-error"], "reason=no_endpoint") {
		t.Errorf("got %+v", got)
	}
	r.headers(5, true, ":method", "POST", ":scheme", "http", ":path", "/s/m", ":authority", "echo", "content-type", "application/grpc+proto", "te", "trailers")
	if got := r.response(5); got.status != "200" || got.fields["grpc-status"] != "14" || !strings.Contains(got.fields["grpc-message"], "no_endpoint") ||
		!strings.Contains(got.fields["weft-error"], "reason=no_endpoint") {
		t.Errorf("got %+v", got)
	}
}

func TestR3_DrainLosesNothing(t *testing.T) {
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	m := newOutbound(t, []*table.Endpoint{upstream(t, "slow", func(_ int, r *raw) {
		r.requests(func(id uint32, _ map[string]string, _ string) {
			arrived <- struct{}{}
			<-release
			r.headers(id, true, ":status", "204")
		})
	})})
	r := dialRaw(t, m.addr)
	r.get(1, "/")
	<-arrived
	drained := make(chan error, 1)
	go func() { drained <- m.outbound.Drain(t.Context()) }()
	if f, ok := r.next().(*http2.GoAwayFrame); !ok || f.LastStreamID != 1<<31-1 {
		t.Fatalf("got %v, want a GOAWAY that still lets streams through", f)
	}
	r.get(3, "/") // sent before the client can know better
	for done := false; !done; {
		f, ok := r.next().(*http2.GoAwayFrame)
		done = ok && f.LastStreamID <= 3
	}
	close(release)
	seen := map[uint32]bool{}
	for {
		f := r.next()
		if f == nil {
			break
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok && h.PseudoValue("status") == "204" {
			seen[h.StreamID] = true
		}
	}
	if !seen[1] {
		t.Errorf("answered streams %v, want 1 among them", seen)
	}
	r.nc.Close()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}
