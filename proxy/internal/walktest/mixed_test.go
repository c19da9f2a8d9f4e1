package walktest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// TestManyClientsMixTheirBodies looks for bytes that end up in another's message: many clients share pooled connections and
// buffers, and each checks every byte that it gets back.
func TestManyClientsMixTheirBodies(t *testing.T) {
	const clients, requests = 8, 40
	m := New(t)
	m.Service("web", table.HTTP)
	for _, name := range []string{"web-1", "web-2"} {
		m.Workload("web", name, server(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if len(body)%2 == 0 {
				http.NewResponseController(w).Flush() // chunked
			}
			w.Write(body)
		}), m.Allow("shop"))
	}
	c := m.Client("shop")
	url := "http://" + c.Upstream("web") + "/"
	var wg sync.WaitGroup
	for n := range clients {
		cl := client(t)
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(n), 1))
			for range requests {
				body := make([]byte, rnd.IntN(1<<uint(rnd.IntN(18))+1))
				for i := range body {
					body[i] = byte(rnd.Uint32())
				}
				var reader io.Reader = bytes.NewReader(body)
				if rnd.IntN(2) == 0 {
					reader = io.MultiReader(reader) // chunked
				}
				resp, err := cl.Post(url, "application/octet-stream", reader)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != 200 || !bytes.Equal(got, body) {
					t.Errorf("sent %d bytes, got %d with status %d, %v", len(body), len(got), resp.StatusCode, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, rec := range c.Records.Wait(clients * requests) {
		if rec.Reason != flow.None || rec.BytesSent != rec.BytesReceived {
			t.Fatalf("record %+v", rec)
		}
	}
	if n := c.Outbound.Handshakes().Full.Load() + c.Outbound.Handshakes().Resumed.Load(); n > 4*clients {
		t.Errorf("E4: %d handshakes for %d requests", n, clients*requests)
	}
}
