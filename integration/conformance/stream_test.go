package conformance

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
)

// eachHTTP runs a test in both modes for both versions of HTTP, from the client to the program.
func eachHTTP(t *testing.T, handler http.HandlerFunc, test func(t *testing.T, c *http.Client, url string)) {
	modes(t, func(w *world) {
		for _, version := range []int{1, 2} {
			w.app(fmt.Sprintf("http%d", version), "", w.serve(handler, version == 1, version == 2))
		}
		client := w.client("http1", "http2")
		for _, version := range []int{1, 2} {
			w.Run(fmt.Sprintf("HTTP/%d", version), func(t *testing.T) {
				test(t, newClient(t, version), "http://"+client.upstream(fmt.Sprintf("http%d", version)))
			})
		}
	})
}

// newClient speaks one version only, 2 by prior knowledge.
func newClient(t *testing.T, version int) *http.Client {
	transport := &http.Transport{Protocols: versions(version == 1, version == 2)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func get(ctx context.Context, t *testing.T, c *http.Client, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// TestR8_ServerSentEvents: each event arrives before the next one is made, so nothing on the way waits for more, and the program
// hears when its listener has gone.
func TestR8_ServerSentEvents(t *testing.T) {
	heard, gone := make(chan int), make(chan struct{})
	eachHTTP(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := 0; ; i++ {
			fmt.Fprintf(rw, "id: %d\ndata: %s\n\n", i, r.Header.Get("Accept"))
			rw.(http.Flusher).Flush()
			select {
			case n := <-heard:
				if n != i {
					t.Errorf("event %d was heard after event %d was sent", n, i)
				}
			case <-r.Context().Done():
				gone <- struct{}{}
				return
			}
		}
	}, func(t *testing.T, c *http.Client, url string) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		resp := get(ctx, t, c, url)
		if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || got != "text/event-stream" {
			t.Fatalf("status %d, type %q", resp.StatusCode, got)
		}
		lines := bufio.NewScanner(resp.Body)
		for i := range 200 {
			for _, want := range []string{fmt.Sprintf("id: %d", i), "data: ", ""} {
				if !lines.Scan() || lines.Text() != want {
					t.Fatalf("got %q, %v; want %q", lines.Text(), lines.Err(), want)
				}
			}
			if i < 199 {
				heard <- i
			}
		}
		cancel()
		<-gone
	})
}

// TestR8_LongPolling: many requests wait for what one brings, others of the same client pass them meanwhile, and one that gives
// up takes its place back without harm to the rest.
func TestR8_LongPolling(t *testing.T) {
	const waiting = 50
	board := &board{waiting: make(chan struct{}), gone: make(chan struct{}), news: make(chan string)}
	eachHTTP(t, board.serve, func(t *testing.T, c *http.Client, url string) {
		answers := make(chan string)
		for range waiting {
			go func() { answers <- body(c.Get(url + "/wait")) }()
		}
		for range waiting {
			<-board.waiting
		}
		ctx, cancel := context.WithCancel(t.Context())
		impatient := make(chan error, 1)
		go func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/wait", nil)
			if err == nil {
				_, err = c.Do(req)
			}
			impatient <- err
		}()
		<-board.waiting
		cancel()
		<-board.gone
		if err := <-impatient; err == nil {
			t.Error("who gave up was answered")
		}
		if got := body(c.Post(url+"/news", "text/plain", nil)); got != "posted" {
			t.Errorf("posting: %s", got)
		}
		for range waiting {
			if got := <-answers; got != "news" {
				t.Errorf("a request that waited got %s", got)
			}
		}
	})
}

// board holds requests until there are news.
type board struct {
	waiting, gone chan struct{}

	mu   sync.Mutex
	news chan string // closed at the next news
}

func (b *board) serve(rw http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	news := b.news
	if r.Method == http.MethodPost {
		close(news)
		b.news = make(chan string)
		b.mu.Unlock()
		io.WriteString(rw, "posted")
		return
	}
	b.mu.Unlock()
	b.waiting <- struct{}{}
	select {
	case <-news:
		io.WriteString(rw, "news")
	case <-r.Context().Done():
		b.gone <- struct{}{}
	}
}

// body is what an answer says, or why there is none.
func body(resp *http.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Sprintf("status %d, %s, %q, %v", resp.StatusCode, resp.Header.Get("Weft-Error"), data, err)
	}
	return string(data)
}
