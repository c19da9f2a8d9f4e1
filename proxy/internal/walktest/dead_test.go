package walktest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/table"
)

// TestR1_HTTPGoesElsewhereWhenAProgramDies sends what may not be repeated: the sidecar vouches that its program, which is
// gone, has not seen it.
func TestR1_HTTPGoesElsewhereWhenAProgramDies(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	first := m.Workload("web", "dead", Refusing(t), m.Allow("shop"))
	m.Workload("web", "alive", server(t, echo), m.Allow("shop"))
	c := m.Client("shop")
	hc, url := client(t), "http://"+c.Upstream("web")+"/order"
	post := func() *http.Response {
		t.Helper()
		resp, err := hc.Post(url, "text/plain", strings.NewReader("one"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	for range 100 {
		if resp := post(); resp.StatusCode != 200 {
			t.Fatalf("status %d, weft-error %q", resp.StatusCode, resp.Header.Get("weft-error"))
		}
	}
	tries := 0
	for _, r := range c.Records.Wait(100) {
		tries += r.Tries
	}
	if tries > 110 {
		t.Errorf("%d tries for 100 requests: the dead program was not left alone", tries)
	}
	m.Change(func(_ *table.Mesh, services map[string]*table.Service) {
		services["default/web"].Rules[0].Backends[0].Set.Endpoints = []*table.Endpoint{first.Endpoint}
	})
	if resp := post(); resp.StatusCode != 503 || !strings.HasPrefix(resp.Header.Get("weft-error"), "hop=inbound, reason=connect, id=") {
		t.Errorf("with nobody left: status %d, weft-error %q", resp.StatusCode, resp.Header.Get("weft-error"))
	}
}
