package walktest

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// TestR8_TrailersBothWays: fields after the body reach the other end in both directions, also those that were not announced,
// with their announcement and the client's wish for them.
func TestR8_TrailersBothWays(t *testing.T) {
	app := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("X-TE", r.Header.Get("TE"))
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
		w.Header().Set("X-Sum", r.Trailer.Get("X-Check"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "unannounced")
		w.Header().Set(http.TrailerPrefix+"Weft-Error", "hop=inbound, reason=denied, id=1")
	}
	versions(t, app, func(t *testing.T, w *walk, cl *http.Client) {
		for _, size := range []int{1, 200_000} {
			// Of a body whose length is not known.
			req, err := http.NewRequest("POST", "http://"+w.addr+"/", io.MultiReader(strings.NewReader(strings.Repeat("x", size))))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("TE", "trailers")
			req.Trailer = http.Header{"X-Check": {"sum of the request"}}
			resp, err := cl.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || len(body) != size {
				t.Errorf("got %d bytes, %v", len(body), err)
			}
			if resp.Header.Get("X-TE") != "trailers" {
				t.Errorf("the program saw TE %q", resp.Header.Get("X-TE"))
			}
			if resp.Trailer.Get("X-Sum") != "sum of the request" || resp.Trailer.Get("X-Late") != "unannounced" {
				t.Errorf("trailer %v", resp.Trailer)
			}
			if resp.Trailer.Get("Weft-Error") != "" {
				t.Errorf("a program speaks for a sidecar: %v", resp.Trailer)
			}
		}
		for _, rec := range w.records.Wait(2) {
			if rec.Reason != flow.None {
				t.Errorf("record %+v", rec)
			}
		}
	})
}
