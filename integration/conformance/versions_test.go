package conformance

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestR8_VersionsOfHTTPAreKept: the program meets the version of HTTP that its client speaks. Where it does not speak that one the
// client can read so; nothing is translated.
func TestR8_VersionsOfHTTPAreKept(t *testing.T) {
	modes(t, func(w *world) {
		hop := "outbound"
		if w.mtls {
			hop = "inbound"
		}
		programs := map[string][]int{"old": {1}, "new": {2}, "both": {1, 2}}
		var names []string
		for name, speaks := range programs {
			for _, protocol := range []string{"", "http"} {
				w.app(name+protocol, protocol, w.serve(func(rw http.ResponseWriter, r *http.Request) {
					fmt.Fprintf(rw, "%d with body %d", r.ProtoMajor, r.ContentLength)
				}, slices.Contains(speaks, 1), slices.Contains(speaks, 2)))
				names = append(names, name+protocol)
			}
		}
		client := w.client(names...)
		for _, name := range names {
			for _, version := range []int{1, 2} {
				w.Run(fmt.Sprintf("HTTP/%d to %s", version, name), func(t *testing.T) {
					resp, err := newClient(t, version).Post("http://"+client.upstream(name)+"/", "text/plain", strings.NewReader("hello"))
					if err != nil {
						t.Fatal(err)
					}
					if slices.Contains(programs[strings.TrimSuffix(name, "http")], version) {
						if got, want := body(resp, nil), fmt.Sprintf("%d with body 5", version); got != want {
							t.Errorf("got %s, want %s", got, want)
						}
						return
					}
					defer resp.Body.Close()
					if got := resp.Header.Get("Weft-Error"); resp.StatusCode != 502 || !strings.HasPrefix(got, "hop="+hop+", reason=upstream_reset,") {
						t.Errorf("status %d, %q", resp.StatusCode, got)
					}
				})
			}
		}
	})
}
