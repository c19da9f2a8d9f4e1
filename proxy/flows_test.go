package proxy_test

import (
	"encoding/json"
	"net/http"
	"testing"
)

// TestFlowsAreShown: the admin port lists a request under way, on both sides of the hop, and never its path.
func TestFlowsAreShown(t *testing.T) {
	arrived, answer := make(chan struct{}), make(chan struct{})
	r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-answer
		w.WriteHeader(http.StatusNoContent)
	}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		resp, err := http.Post("http://"+r.shop.ports.Upstreams["default/reviews:80"]+"/secret", "text/plain", nil)
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
	}()
	<-arrived
	for name, c := range map[string]*car{"outbound": r.shop, "inbound": r.reviews} {
		raw, err := c.admin("/debug/flows")
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Flows []map[string]any `json:"flows"`
		}
		if err := json.Unmarshal([]byte(raw), &got); err != nil || len(got.Flows) != 1 {
			t.Fatalf("%s: %s, %v", name, raw, err)
		}
		f := got.Flows[0]
		if f["direction"] != name || f["stage"] != "waiting" || f["request"] != "POST "+r.shop.ports.Upstreams["default/reviews:80"] || f["age_seconds"] == 0.0 {
			t.Errorf("%s: %s", name, raw)
		}
		if name == "inbound" && f["peer"] != "spiffe://weft.local/ns/default/sa/shop" {
			t.Errorf("peer: %s", raw)
		}
	}
	close(answer)
	<-done
}
