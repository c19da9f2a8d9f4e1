package proxy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
)

func hello(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "hello %s from %s", r.URL.Path, r.Header.Get("weft-source"))
}

const helloShop = "hello /a from spiffe://weft.local/ns/default/sa/shop"

// TestC11_RequestThroughTwoSidecars: a program that knows nothing of the mesh calls another one over mTLS, is counted on both
// sides, and everything about it can be seen.
func TestC11_RequestThroughTwoSidecars(t *testing.T) {
	r := newRig(t, http.HandlerFunc(hello))
	for range 3 {
		if body, err := r.call("/a"); err != nil || body != helloShop {
			t.Fatalf("want %q, got %q, %v", helloShop, body, err)
		}
	}
	for _, direction := range []telemetrypb.Direction{telemetrypb.Direction_DIRECTION_OUTBOUND, telemetrypb.Direction_DIRECTION_INBOUND} {
		e, err := r.plane.Telemetry.Await(r.ctx, func(e *telemetrypb.EdgeCounters) bool {
			return e.GetEdge().GetDirection() == direction && e.GetRequests() == 3
		})
		if err != nil {
			t.Fatalf("report of the %v side: %v", direction, err)
		}
		edge := e.GetEdge()
		if edge.GetSource() != "default/shop" || edge.GetDestination() != "default/reviews" || edge.GetService() != "default/reviews" ||
			edge.GetDestinationWorkload() != "default/reviews-1" || edge.GetVersion() != "v1" || !edge.GetMtls() || e.GetSuccesses() != 3 || e.GetStatuses()["2xx"] != 3 {
			t.Errorf("%v side: %v", direction, e)
		}
	}
	metrics, err := r.shop.admin("/metrics")
	if err != nil || !strings.Contains(metrics, `weft_proxy_requests_total{code="2xx",destination="default/reviews",destination_service="default/reviews",destination_workload="default/reviews-1",direction="outbound",mtls="true",protocol="http",source="default/shop",version="v1"} 3`) {
		t.Errorf("metrics: %v\n%s", err, metrics)
	}
}

// TestE4_ManyRequestsFewHandshakes: the two sidecars keep their connections, whatever the program does with its own.
func TestE4_ManyRequestsFewHandshakes(t *testing.T) {
	r := newRig(t, http.HandlerFunc(hello))
	const n = 50
	for range n {
		if _, err := r.call("/a"); err != nil {
			t.Fatal(err)
		}
	}
	metrics, err := r.reviews.admin("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	made := -1
	for line := range strings.Lines(metrics) {
		if count, ok := strings.CutPrefix(line, `weft_proxy_tls_handshakes_total{direction="inbound",result="full"} `); ok {
			made, err = strconv.Atoi(strings.TrimSpace(count))
		}
	}
	if err != nil || made < 1 || made > 3 {
		t.Errorf("%d requests took %d handshakes, %v", n, made, err)
	}
}

func TestConfigDumpShowsWhatIsHeldAndNoKey(t *testing.T) {
	r := newRig(t, http.HandlerFunc(hello))
	raw, err := r.shop.admin("/config_dump")
	if err != nil {
		t.Fatal(err)
	}
	var dump struct {
		SPIFFEID  string            `json:"spiffe_id"`
		Resources []json.RawMessage `json:"resources"`
		Services  []string          `json:"subscriptions"`
	}
	if err := json.Unmarshal([]byte(raw), &dump); err != nil {
		t.Fatal(err)
	}
	if dump.SPIFFEID != "spiffe://weft.local/ns/default/sa/shop" || len(dump.Resources) != 5 || len(dump.Services) != 1 {
		t.Errorf("dump: %s", raw)
	}
	if strings.Contains(raw, "PRIVATE") {
		t.Error("the dump has a key in it")
	}
}

// TestC16_WithoutControlPlane: running sidecars serve on, and restarted ones serve from their state directories, on the same
// ports, while there is no control plane; when it returns they find it.
func TestC16_WithoutControlPlane(t *testing.T) {
	r := newRig(t, http.HandlerFunc(hello))
	if _, err := r.call("/a"); err != nil {
		t.Fatal(err)
	}
	r.plane.Stop()
	if body, err := r.call("/a"); err != nil || body != helloShop {
		t.Fatalf("running sidecars: %q, %v", body, err)
	}
	for _, c := range []**car{&r.reviews, &r.shop} {
		before := (*c).ports
		if err := (*c).stop(); err != nil {
			t.Fatalf("stop: %v", err)
		}
		*c = r.start((*c).cfg)
		if (*c).ports.Mesh != before.Mesh || (*c).ports.Upstreams["default/reviews:80"] != before.Upstreams["default/reviews:80"] {
			t.Errorf("ports changed from %+v to %+v", before, (*c).ports)
		}
	}
	if body, err := r.call("/a"); err != nil || body != helloShop {
		t.Fatalf("restarted sidecars: %q, %v", body, err)
	}
	r.plane.Start()
	r.until("reconnection", func() error {
		metrics, err := r.shop.admin("/metrics")
		if err == nil && !strings.Contains(metrics, `weft_proxy_connected{service="distributor"} 1`) {
			err = fmt.Errorf("not connected to the distributor")
		}
		return err
	})
}

func TestDeregisterAnswersWithItsRevisionAndLasts(t *testing.T) {
	r := newRig(t, http.HandlerFunc(hello))
	r.until("readiness", func() error { _, err := r.reviews.admin("/readyz"); return err })
	var first string
	for range 2 {
		resp, err := http.Post("http://"+r.reviews.ports.Admin+"/deregister", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		var body struct {
			Revision map[string]any `json:"revision"`
		}
		err = json.NewDecoder(resp.Body).Decode(&body)
		resp.Body.Close()
		if err != nil || body.Revision["source"] != "SOURCE_DISCOVERY" {
			t.Fatalf("answer: %v, %v", body, err)
		}
		if got := fmt.Sprint(body.Revision); first == "" {
			first = got
		} else if got != first {
			t.Errorf("second answer: want %s, got %s", first, got)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if _, err := r.plane.Discovery.Await(r.ctx, "default/reviews-1", false); err != nil {
		t.Error("the workload is still registered")
	}
	if _, err := r.reviews.admin("/readyz"); err == nil {
		t.Error("ready although deregistered")
	}
	if body, err := r.call("/a"); err != nil || body != helloShop {
		t.Errorf("a call after the deregistration: %q, %v", body, err)
	}
}

// TestDrainLosesNothing: a request in flight comes to its end although its sidecar was told to stop.
func TestDrainLosesNothing(t *testing.T) {
	arrived, finish := make(chan struct{}), make(chan struct{})
	r := newRig(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		close(arrived)
		<-finish
		hello(w, req)
	}))
	type answer struct {
		body string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		body, err := r.call("/a")
		answers <- answer{body, err}
	}()
	<-arrived
	r.reviews.cancel()
	if _, err := r.plane.Discovery.Await(r.ctx, "default/reviews-1", false); err != nil {
		t.Errorf("the workload was not deregistered first: %v", err)
	}
	close(finish)
	if a := <-answers; a.err != nil || a.body != helloShop {
		t.Errorf("request in flight: %q, %v", a.body, a.err)
	}
	if err := r.reviews.stop(); err != nil {
		t.Errorf("drain: %v", err)
	}
}

// TestR3_ScaleUpAndDownLosesNothing: instances come and go under load, and no request notices.
func TestR3_ScaleUpAndDownLosesNothing(t *testing.T) {
	r := newRig(t, http.HandlerFunc(hello))
	end := make(chan struct{})
	var load sync.WaitGroup
	var served, failed atomic.Int64
	for range 3 {
		load.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if body, err := r.call("/a"); err != nil || body != helloShop {
					failed.Add(1)
					t.Errorf("request: %q, %v", body, err)
					return
				}
				served.Add(1)
			}
		})
	}
	update := func() {
		t.Helper()
		r.plane.Distributor.Set("default/shop-1", r.shopResources()...)
		if err := r.plane.Distributor.AwaitAck(r.ctx, "default/shop-1"); err != nil {
			t.Fatal(err)
		}
	}
	for i := 2; i < 5; i++ {
		c := r.startReviews(fmt.Sprint("reviews-", i))
		update()
		reached := served.Load() + 20
		r.until("load on the new instance", func() error {
			if served.Load() < reached && failed.Load() == 0 {
				return fmt.Errorf("%d requests", served.Load())
			}
			return nil
		})
		c.cancel()
		if _, err := r.plane.Discovery.Await(r.ctx, "default/"+c.cfg.Workload, false); err != nil {
			t.Fatal(err)
		}
		update()
		if err := c.stop(); err != nil {
			t.Errorf("drain: %v", err)
		}
	}
	close(end)
	load.Wait()
}

// TestID7_AccessDecidesByIdentity: without a rule for the caller it is refused, readably; with one it passes.
func TestID7_AccessDecidesByIdentity(t *testing.T) {
	r := newRig(t, http.HandlerFunc(hello))
	port := r.reviews.cfg.AppPort
	r.plane.Distributor.Set("default/reviews-1", mesh(), access(false), inboundOf("reviews-1", port))
	if err := r.plane.Distributor.AwaitAck(r.ctx, "default/reviews-1"); err != nil {
		t.Fatal(err)
	}
	_, err := r.call("/a")
	if err == nil || !strings.Contains(err.Error(), "403") || !strings.Contains(err.Error(), "reason=denied") {
		t.Errorf("want a refusal with 403 and its reason, got %v", err)
	}
	r.plane.Distributor.Set("default/reviews-1", mesh(), access(true), inboundOf("reviews-1", port))
	if err := r.plane.Distributor.AwaitAck(r.ctx, "default/reviews-1"); err != nil {
		t.Fatal(err)
	}
	if body, err := r.call("/a"); err != nil || body != helloShop {
		t.Errorf("after the rule: %q, %v", body, err)
	}
}

func TestUsedTokenEndsTheSidecarReadably(t *testing.T) {
	r := newRig(t, http.HandlerFunc(hello))
	cfg := config(t, "thief-1")
	cfg.JoinToken = r.shop.cfg.JoinToken
	c := &car{t: t, cfg: cfg}
	err := c.run(t)
	if err == nil || !strings.Contains(err.Error(), "has been used") {
		t.Errorf("want an error that says that the token has been used, got %v", err)
	}
}

func TestTwoSidecarsCannotShareAStateDirectory(t *testing.T) {
	r := newRig(t, http.HandlerFunc(hello))
	c := &car{t: t, cfg: r.shop.cfg}
	if err := c.run(t); err == nil || !strings.Contains(err.Error(), "another sidecar") {
		t.Errorf("want a readable refusal, got %v", err)
	}
}

func TestForeignStateDirectoryIsRefused(t *testing.T) {
	r := newRig(t, http.HandlerFunc(hello))
	if err := r.shop.stop(); err != nil {
		t.Fatal(err)
	}
	cfg := r.shop.cfg
	cfg.Workload, cfg.JoinToken = "other-1", ""
	c := &car{t: t, cfg: cfg}
	if err := c.run(t); err == nil || !strings.Contains(err.Error(), "default/shop-1") {
		t.Errorf("want an error that names the owner, got %v", err)
	}
}

func TestStateFilesAreClosedToOthers(t *testing.T) {
	r := newRig(t, http.HandlerFunc(hello))
	if err := r.shop.stop(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "snapshot.pb", "svid.key", "svid.pem", "bundle.pem", "ports.json", "sidecar.json"} {
		info, err := os.Stat(filepath.Join(r.shop.cfg.StateDir, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%q: %v, %v", name, info, err)
		}
	}
}

func TestWorkloadThatDiscoveryRefusesIsNotReady(t *testing.T) {
	r := newRig(t, http.HandlerFunc(hello))
	r.plane.Discovery.Refuse(`service "reviews" allows accounts ["reviews"], not "mallory"`)
	cfg := config(t, "mallory-1")
	cfg.Services, cfg.AppPort = []string{"reviews"}, r.reviews.cfg.AppPort
	cfg.JoinToken = r.plane.Token(spiffe.Account{Namespace: "default", Name: "mallory"})
	r.plane.Distributor.Set("default/mallory-1", mesh(), access(true))
	c := r.start(cfg)
	r.until("the refusal", func() error {
		_, err := c.admin("/readyz")
		if err == nil || !strings.Contains(err.Error(), "not \"mallory\"") {
			return fmt.Errorf("readyz says %w", err)
		}
		return nil
	})
}
